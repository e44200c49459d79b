import js from '@eslint/js';
import jupyter from '@jupyter/eslint-plugin';
import prettier from 'eslint-plugin-prettier/recommended';
import globals from 'globals';
import tseslint from 'typescript-eslint';

/** Arrows that do not exist between the rooms of the frontend. */
const forbid = (group, message) => [
  'error',
  { patterns: [{ group, message }] }
];

export default tseslint.config(
  {
    ignores: [
      '.venv*',
      '.nox',
      '.yarn',
      '.make',
      'build',
      'coverage',
      'dist',
      'htmlcov',
      'jupyter_dask_doctor',
      'lib',
      'node_modules',
      'playwright-report',
      'src/_schema.ts',
      'test-results',
      'tests',
      'ui-tests/test-results'
    ]
  },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  ...jupyter.configs.recommended.map(config => ({
    ...config,
    plugins: { jupyter, ...config.plugins }
  })),
  prettier,
  {
    languageOptions: { globals: { ...globals.browser, ...globals.node } },
    linterOptions: { reportUnusedDisableDirectives: 'error' }
  },
  {
    files: ['src/**/*.{ts,tsx}'],
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: import.meta.dirname
      }
    },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { args: 'after-used' }],
      '@typescript-eslint/naming-convention': [
        'error',
        {
          selector: 'interface',
          format: ['PascalCase'],
          custom: { regex: '^I[A-Z]', match: true }
        }
      ],
      // What index.ts imports is needed at activation: the model, the panel and the commands are the plugin.
      'jupyter/prefer-lazy-imports': 'off',
      curly: ['error', 'all'],
      eqeqeq: ['error', 'always', { null: 'ignore' }]
    }
  },
  {
    // Playwright tells what a fixture needs by the pattern, also when that is nothing.
    files: ['ui-tests/**'],
    rules: { 'no-empty-pattern': 'off' }
  },
  {
    files: ['**/*.config.js'],
    rules: { '@typescript-eslint/no-require-imports': 'off' }
  },
  {
    // What runs inside the page reaches for `window.jupyterapp`, which has no types there.
    files: ['ui-tests/**'],
    rules: { '@typescript-eslint/no-explicit-any': 'off' }
  },
  {
    files: ['src/__tests__/**'],
    rules: {
      'jupyter/require-disposable-ownership': 'off',
      'jupyter/no-untranslated-string': 'off',
      'jupyter/require-disposable-transfer': 'off'
    }
  },
  {
    files: ['src/components/**/*.{ts,tsx}'],
    rules: {
      'no-restricted-imports': forbid(
        [
          '**/service',
          '**/puller',
          '**/model',
          '**/loader',
          '**/commands',
          '**/panel',
          '@jupyterlab/services',
          '@jupyterlab/notebook'
        ],
        'Components take props and callbacks.'
      )
    }
  },
  {
    files: [
      'src/model.ts',
      'src/followed.ts',
      'src/loader.ts',
      'src/notebook.ts',
      'src/edits.ts',
      'src/service.ts',
      'src/puller.ts',
      'src/request.ts',
      'src/format.ts',
      'src/markdown.ts',
      'src/told.ts',
      'src/tokens.ts'
    ],
    rules: {
      'no-restricted-imports': forbid(
        ['react', 'react-dom', '**/components/**', '**/view', '**/panel'],
        'What knows and asks does not show.'
      )
    }
  }
);
