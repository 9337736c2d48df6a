// The parts of the XMPP client that need no XML: what text may be sent, and when it connects. The rest is tested in a
// browser against the real server.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { carriable, Client } from '../assets/xmpp.js';

test('only characters that XML can carry are sent', () => {
  assert.equal(carriable('tab\t line\n é 👋 <&>'), 'tab\t line\n é 👋 <&>');
  assert.equal(carriable('a\u0000b\u0008c\u001fd\ufffee\uffff'), 'abcde');
  assert.equal(carriable('half \ud83d of a pair \udc4b'), 'half  of a pair ');
});

// A WebSocket that connects to nothing; the test closes it.
class FakeSocket extends EventTarget {
  static all = [];
  static OPEN = 1;
  readyState = 0;

  constructor(url, protocol) {
    super();
    Object.assign(this, { url, protocol });
    FakeSocket.all.push(this);
  }

  close() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event('close'), { reason: '' }));
  }
}

// settled waits for the promises that are resolved already.
const settled = () => new Promise((resolve) => setImmediate(resolve));

// A clock that goes on when it is told to; it stands in for setTimeout and clearTimeout.
class FakeClock {
  #now = 0;
  #timers = new Map(); // id → {at, call}
  #ids = 0;

  set(call, wait) {
    this.#timers.set((this.#ids += 1), { at: this.#now + wait, call });
    return this.#ids;
  }

  clear(id) {
    this.#timers.delete(id);
  }

  tick(ms) {
    this.#now += ms;
    for (const [id, { at, call }] of [...this.#timers]) {
      if (at > this.#now) continue;
      this.#timers.delete(id);
      call();
    }
  }
}

function makeClient(t) {
  const { setTimeout, clearTimeout } = globalThis;
  t.after(() => Object.assign(globalThis, { setTimeout, clearTimeout }));
  const clock = new FakeClock();
  globalThis.setTimeout = (call, wait) => clock.set(call, wait);
  globalThis.clearTimeout = (id) => clock.clear(id);
  globalThis.WebSocket = FakeSocket;
  FakeSocket.all = [];
  const statuses = [];
  const on = { status: (status) => statuses.push(status) };
  return { clock, client: new Client({ url: 'ws://h/xmpp-websocket', jid: 'alice@h', password: '', on }), statuses };
}

test('a lost connection comes back, ever later, until it is stopped', async (t) => {
  const { clock, client, statuses } = makeClient(t);
  client.start();
  client.start(); // is started already
  assert.deepEqual(FakeSocket.all.map(({ url, protocol }) => [url, protocol]), [['ws://h/xmpp-websocket', 'xmpp']]);
  for (const [attempt, most] of [625, 1250, 2500, 5000, 10_000, 10_000].entries()) {
    FakeSocket.all.at(-1).close();
    await settled();
    assert.equal(client.status, 'waiting');
    clock.tick(most * 0.59); // not yet: it waits three fifths of that at least
    assert.equal(FakeSocket.all.length, attempt + 1);
    clock.tick(most * 0.42);
    assert.equal(FakeSocket.all.length, attempt + 2);
    assert.equal(client.status, 'connecting');
  }
  client.stop();
  await settled();
  clock.tick(60_000);
  assert.equal(client.status, 'stopped');
  assert.equal(FakeSocket.all.length, 7);
  assert.deepEqual(statuses.slice(-2), ['connecting', 'stopped']);
});

test('a server that does not answer is given up', async (t) => {
  const { clock, client } = makeClient(t);
  client.start();
  clock.tick(15_000);
  await settled();
  assert.equal(client.status, 'waiting');
});

test('the network is back: no waiting', async (t) => {
  const { client } = makeClient(t);
  client.start();
  FakeSocket.all[0].close();
  await settled();
  client.hurry();
  client.hurry();
  assert.equal(FakeSocket.all.length, 2);
});

test('stopped and started at once, one connection remains', async (t) => {
  const { client, statuses } = makeClient(t);
  client.start();
  client.stop();
  client.start();
  await settled();
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(client.status, 'connecting');
  assert.deepEqual(statuses, ['connecting', 'stopped', 'connecting']);
});

test('without a connection nothing is sent', (t) => {
  const { client } = makeClient(t);
  assert.equal(client.send({}), false);
});
