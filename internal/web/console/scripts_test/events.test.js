import assert from 'node:assert/strict';
import { test } from 'node:test';

import { concerns, lineOf } from '../assets/events.js';

const event = { id: 3, time: '2026-01-02T03:04:05Z', what: 'refresh', host: 'h.example', peer: '10.0.0.7:5', by: 'token', users: ['john'], names: 1,
  changed: 1, unchanged: 0, offline: 0, held: 0, errors: 0, items_added: 2, items_removed: 0, items_changed: 1, took_ms: 12.34 };

test('a notification is a line', () => {
  assert.deepEqual(lineOf(event), {
    kind: 'notification', state: 'ok', at: Date.UTC(2026, 0, 2, 3, 4, 5), what: 'notified john at h.example', result: 'ok',
    more: 'changed · +2 ~1 · 12 ms · 10.0.0.7 · token',
  });
});

test('of many users the first are named, and the outcomes counted', () => {
  const line = lineOf({ ...event, users: ['a', 'b'], names: 12, changed: 3, offline: 7, errors: 2, reason: '"x" cannot be' });
  assert.equal(line.what, 'notified a, b and 10 others at h.example');
  assert.equal(line.result, '2 failed');
  assert.equal(line.state, 'failed');
  assert.ok(line.more.startsWith('3 changed, 7 offline · +2 ~1 · "x" cannot be · '), line.more);
});

test('what is held stands out, and what an operator did is told', () => {
  assert.deepEqual([lineOf({ ...event, changed: 0, held: 1, errors: 1 })].map((l) => [l.state, l.result]), [['held', 'held']]);
  const ended = lineOf({ ...event, what: 'session ended', users: ['john@h.example/x'], changed: 0 });
  assert.deepEqual([ended.kind, ended.what, ended.more], ['operator', 'ended john@h.example/x', '10.0.0.7 · token']);
});

test('an event concerns those whom it names, or may name', () => {
  assert.ok(concerns(event, 'john@h.example'));
  assert.ok(!concerns(event, 'john@other.example'));
  assert.ok(!concerns(event, ''));
  assert.ok(concerns({ ...event, names: 12 }, 'marie@h.example'));
  assert.ok(!concerns({ ...event, what: 'session ended', names: 1, users: ['john@h.example/x'] }, 'john@h.example'));
});
