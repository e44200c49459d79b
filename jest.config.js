const jestJupyterLab = require('@jupyterlab/testing/lib/jest-config');

const esModules = [
  '@codemirror',
  '@jupyter/',
  '@jupyterlab/',
  '@marijn',
  '@microsoft/',
  '@rjsf/',
  'color',
  'diff',
  'exenv-es6',
  'lib0',
  'marked',
  'nanoid',
  'vscode-ws-jsonrpc',
  'y-protocols',
  'y-websocket',
  'yjs'
].join('|');

const base = jestJupyterLab(__dirname);

module.exports = {
  ...base,
  automock: false,
  collectCoverageFrom: [
    'src/**/*.{ts,tsx}',
    '!src/**/*.d.ts',
    '!src/_schema.ts',
    '!src/__tests__/**'
  ],
  // Else jest sees two packages of one name.
  modulePathIgnorePatterns: ['<rootDir>/jupyter_dask_doctor/labextension'],
  reporters: ['default'],
  roots: ['<rootDir>/src'],
  setupFiles: [...base.setupFiles, '<rootDir>/src/__tests__/quiet.js'],
  testRegex: 'src/__tests__/.*\\.spec\\.tsx?$',
  transform: {
    ...base.transform,
    '^.+\\.tsx?$': [
      'ts-jest',
      {
        // Types are checked by tsc; here only their removal is wanted.
        diagnostics: false,
        tsconfig: {
          esModuleInterop: true,
          isolatedModules: true,
          jsx: 'react',
          module: 'commonjs',
          resolveJsonModule: true,
          target: 'es2022'
        }
      }
    ]
  },
  transformIgnorePatterns: [`/node_modules/(?!${esModules}).+`]
};
