import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ago, count, split, took } from '../assets/text.js';

test('addresses are taken apart', () => {
  assert.deepEqual(split('john@h.example/a/b@c'), { bare: 'john@h.example', local: 'john', domain: 'h.example', resource: 'a/b@c' });
  assert.deepEqual(split('john@h.example'), { bare: 'john@h.example', local: 'john', domain: 'h.example', resource: '' });
  assert.deepEqual(split('h.example'), { bare: 'h.example', local: 'h.example', domain: 'h.example', resource: '' });
});

test('times are in their largest unit', () => {
  const all = [-5, 0, 59_400, 60_000, 3_599_000, 3_600_000, 90_000_000].map(ago);
  assert.deepEqual(all, ['0 s', '0 s', '59 s', '1 min', '59 min', '1 h 0 min', '1 d 1 h']);
  assert.deepEqual([0.01, 1.234, 56.7, 1500].map(took), ['< 0.1 ms', '1.2 ms', '57 ms', '1.5 s']);
});

test('numbers have their noun', () => {
  assert.deepEqual([count(0, 'client'), count(1, 'client'), count(1234, 'client')], ['0 clients', '1 client', '1,234 clients']);
});
