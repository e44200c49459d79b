/** What the words of the kernel's side and of the server mean for what the panel shows. */
import type { Reply, Trouble } from './_schema';
import type { Phase } from './tokens';

export const FROM_STATUS: Record<Reply['status']['kind'], Phase> = {
  'no-distributed': 'no-distributed',
  'old-distributed': 'old-distributed',
  'no-client': 'no-client',
  connecting: 'connecting',
  live: 'live',
  limited: 'live',
  lost: 'lost',
  off: 'off'
};

export const FROM_TROUBLE: Record<Trouble['kind'], Phase> = {
  'no-kernel': 'no-kernel',
  'not-python': 'not-python',
  'no-doctor': 'not-loaded',
  'not-answering': 'not-answering',
  restarting: 'restarting',
  'old-kernel-side': 'old-kernel-side',
  'new-kernel-side': 'new-kernel-side',
  'bad-message': 'bad-message',
  gateway: 'starting'
};

/** Phases in which what was last heard still deserves to be shown. */
export const STILL_SHOWN: readonly Phase[] = [
  'live',
  'connecting',
  'lost',
  'not-answering',
  'bad-message',
  'no-server',
  'restarting'
];
