// What the events of /admin/events mean, as lines of the feed. Each tells what came of a notification or a write at one
// host, or of an operator's doing.

import { count, took } from './text.js';

const KINDS = { refresh: 'notification', profile: 'notification', put: 'write', patch: 'write', confirm: 'operator', 'session ended': 'operator' };
const VERBS = { refresh: 'notified', profile: 'notified of profiles:', put: 'put', patch: 'patched', confirm: 'confirmed', 'session ended': 'ended' };

// lineOf gives the line for an event's data: {kind, state, at, what, result, more}; state is ok, failed or held.
export function lineOf(e) {
  const more = e.what === 'session ended' ? [] : [outcomes(e), items(e), e.reason, took(e.took_ms)];
  more.push(e.peer.replace(/:\d+$/, ''), e.credential ?? e.by);
  return {
    kind: KINDS[e.what] ?? 'operator',
    state: failed(e) > 0 ? 'failed' : e.held > 0 ? 'held' : 'ok',
    at: Date.parse(e.time),
    what: `${VERBS[e.what] ?? e.what} ${names(e)}`,
    result: result(e),
    more: more.filter(Boolean).join(' · '),
  };
}

function names(e) {
  const users = e.users ?? [];
  const rest = e.names - users.length;
  const list = users.join(', ') + (rest > 0 ? ` and ${count(rest, 'other')}` : '');
  return e.host && e.what !== 'session ended' ? `${list} at ${e.host}` : list;
}

// failed counts what came to nothing: what is held counts as an error too, but waits.
function failed(e) {
  return e.errors - e.held;
}

function result(e) {
  if (failed(e) > 0) return failed(e) === e.names ? 'failed' : `${failed(e)} failed`;
  if (e.held > 0) return e.names === 1 ? 'held' : `${e.held} held`;
  return 'ok';
}

function outcomes(e) {
  const parts = ['changed', 'unchanged', 'offline'].filter((word) => e[word] > 0);
  return parts.map((word) => (e.names === 1 ? word : `${e[word]} ${word}`)).join(', ');
}

function items(e) {
  const parts = [e.items_added && `+${e.items_added}`, e.items_removed && `−${e.items_removed}`, e.items_changed && `~${e.items_changed}`];
  return parts.filter(Boolean).join(' ');
}

// concerns says whether an event may have changed what is shown of a user, by bare address.
export function concerns(e, jid) {
  if (!jid || e.what === 'session ended') return false;
  const users = e.users ?? [];
  return e.names > users.length || users.some((user) => user === jid || `${user}@${e.host}` === jid);
}
