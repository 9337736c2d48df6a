import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chats } from '../assets/chats.js';

const from = (id) => ({ id, mine: false, text: `text ${id}`, at: 0 });
const mine = (id) => ({ id, mine: true, text: `text ${id}`, at: 0 });

test('what others say is unread until it is read', () => {
  const chats = new Chats();
  chats.add('bob@h', from('1'));
  chats.add('bob@h', mine('2'));
  chats.add('carol@h', from('3'));
  chats.add('carol@h', from('4'));
  assert.equal(chats.unread(), 3);
  assert.equal(chats.with('carol@h').unread, 2);
  assert.equal(chats.read('carol@h'), true);
  assert.equal(chats.read('carol@h'), false);
  assert.equal(chats.read('dave@h'), false);
  assert.equal(chats.unread(), 1);
  assert.deepEqual(chats.partners(), ['bob@h', 'carol@h']);
});

test('a conversation that there is not yet is empty, and looking does not make one', () => {
  const chats = new Chats();
  assert.deepEqual(chats.with('bob@h'), { messages: [], unread: 0 });
  assert.deepEqual(chats.partners(), []);
});

test('a message of mine that was not delivered says why', () => {
  const chats = new Chats();
  chats.add('bob@h', from('1'));
  chats.add('bob@h', mine('1'));
  assert.equal(chats.fail('bob@h', '1', 'nobody is there'), true);
  assert.deepEqual(chats.with('bob@h').messages.map((m) => m.failed), ['', 'nobody is there']);
  assert.equal(chats.fail('bob@h', '2', ''), false);
  assert.equal(chats.fail('carol@h', '1', ''), false);
});

test('a conversation forgets its beginning in the end', () => {
  const chats = new Chats();
  for (let i = 1; i <= 1000; i += 1) chats.add('bob@h', mine(String(i)));
  const { messages } = chats.with('bob@h');
  assert.equal(messages.length, 300);
  assert.equal(messages.at(-1).id, '1000');
});
