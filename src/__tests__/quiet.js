/* What libraries warn of wherever they run under jest would hide what our tests have to say. */
const KNOWN = [
  'Invalid access: Add Yjs type', // @jupyter/ydoc, whenever a cell is inserted
  'Not same Y.Doc', // likewise
  'Clipboard API not available' // @jupyterlab/apputils without a browser
];
const { warn } = console;
console.warn = (...args) => {
  const text = args.map(String).join(' ');
  if (!KNOWN.some(known => text.includes(known))) {
    warn(...args);
  }
};
