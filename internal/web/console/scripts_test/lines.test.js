import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Lines } from '../assets/lines.js';

// heard gives the events of a stream that arrives in those pieces.
function heard(...pieces) {
  const events = [];
  const lines = new Lines((event) => events.push(event));
  pieces.forEach((piece) => lines.add(piece));
  return events;
}

test('an event has a type, an id and data', () => {
  assert.deepEqual(heard('id: 7\nevent: fetch\ndata: {"a":1}\n\n'), [{ id: '7', type: 'fetch', data: '{"a":1}' }]);
  assert.deepEqual(heard('data:x\n\n'), [{ id: undefined, type: 'message', data: 'x' }]);
});

test('it does not matter where the pieces end', () => {
  const text = 'id: 1\r\nevent: a\r\ndata: one\r\ndata: two\r\n\r\n: alive\n\nevent: b\ndata: {"é": ": "}\n\ndata: cut off';
  const whole = [{ id: '1', type: 'a', data: 'one\ntwo' }, { id: undefined, type: 'b', data: '{"é": ": "}' }];
  assert.deepEqual(heard(text), whole);
  assert.deepEqual(heard(...text), whole);
  for (let i = 1; i < text.length; i++) assert.deepEqual(heard(text.slice(0, i), text.slice(i)), whole);
});

test('comments, unknown fields and events without data are none', () => {
  assert.deepEqual(heard(': hello\n\nretry: 5\nevent: x\n\nwhat\nid: 3\n\ndata\n\n'), [{ id: undefined, type: 'message', data: '' }]);
});
