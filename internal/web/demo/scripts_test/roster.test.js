import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bare, local, Roster, UNGROUPED } from '../assets/roster.js';

const bob = { jid: 'bob@h', name: 'Bob', groups: ['Work'] };
const carol = { jid: 'carol@h', name: 'Carol', groups: [] };
const dave = { jid: 'dave@h', name: '', groups: ['Work', 'Band'] };

function rosterOf(...items) {
  const roster = new Roster();
  roster.reset(items);
  return roster;
}

// shape writes the groups as text, for comparing.
const shape = (groups) => groups.map(({ name, items }) => `${name}: ${items.map((i) => i.jid).join(' ')}`);

test('addresses', () => {
  assert.equal(bare('bob@h/a/b@c'), 'bob@h');
  assert.equal(bare('bob@h'), 'bob@h');
  assert.equal(local('bob@h'), 'bob');
});

test('a push adds, changes and removes', () => {
  const roster = rosterOf(bob);
  assert.equal(roster.set(carol), 'added');
  assert.equal(roster.set({ ...carol }), '');
  assert.equal(roster.set({ ...carol, name: 'Caro' }), 'changed');
  assert.equal(roster.set({ ...carol, name: 'Caro', groups: ['X'] }), 'changed');
  assert.equal(roster.name('carol@h'), 'Caro');
  assert.equal(roster.remove('carol@h'), 'removed');
  assert.equal(roster.remove('carol@h'), '');
  assert.equal(roster.name('carol@h'), 'carol');
  assert.equal(roster.size, 1);
});

test('groups are a set: neither order nor repetition is a change', () => {
  const roster = rosterOf({ ...bob, groups: ['B', 'A', 'B'] });
  assert.equal(roster.set({ ...bob, groups: ['A', 'B'] }), '');
  assert.deepEqual(roster.get('bob@h').groups, ['A', 'B']);
});

test('a whole list replaces the one before', () => {
  const roster = rosterOf(bob, carol);
  assert.deepEqual(roster.reset([{ ...bob, name: 'Bobby' }, dave]), [
    { jid: 'bob@h', kind: 'changed' },
    { jid: 'dave@h', kind: 'added' },
    { jid: 'carol@h', kind: 'removed' },
  ]);
  assert.deepEqual(roster.reset([dave, { ...bob, name: 'Bobby' }]), []);
});

test('groups by name, those in none last, a contact in each of its groups', () => {
  assert.deepEqual(shape(rosterOf(bob, carol, dave).groups()), ['Band: dave@h', 'Work: bob@h dave@h', `${UNGROUPED}: carol@h`]);
  assert.deepEqual(shape(rosterOf().groups()), []);
});

test('more items are shown with the list and are no part of it', () => {
  const roster = rosterOf(bob);
  assert.deepEqual(shape(roster.groups([{ jid: 'abe@h', name: 'Abe', groups: ['Work'] }])), ['Work: abe@h bob@h']);
  assert.equal(roster.size, 1);
});

test('the presence of a contact is that of the best resource', () => {
  const roster = rosterOf(bob);
  const show = () => roster.presenceOf('bob@h').show;
  assert.equal(show(), 'offline');
  roster.presence('bob@h/a', { show: 'away', status: 'lunch' });
  assert.deepEqual(roster.presenceOf('bob@h'), { show: 'away', status: 'lunch', priority: 0 });
  roster.presence('bob@h/b', {});
  assert.equal(show(), 'available'); // the same priority: whoever is readier
  roster.presence('bob@h/a', { show: 'dnd', priority: 5 });
  assert.equal(show(), 'dnd');
  roster.presence('bob@h/a', { show: 'offline' });
  assert.equal(show(), 'available');
  roster.presence('bob@h', { show: 'offline' }); // every resource
  assert.equal(show(), 'offline');
});

test('presence may come before the contact, and goes with it', () => {
  const roster = rosterOf();
  roster.presence('bob@h/a', {});
  assert.equal(roster.presenceOf('bob@h').show, 'offline'); // not a contact: not shown
  roster.set(bob);
  assert.equal(roster.presenceOf('bob@h').show, 'available');
  roster.remove('bob@h');
  roster.set(bob);
  assert.equal(roster.presenceOf('bob@h').show, 'offline');
});

test('a lost connection forgets presence and keeps the contacts', () => {
  const roster = rosterOf(bob);
  roster.presence('bob@h/a', {});
  roster.forgetPresence();
  assert.equal(roster.presenceOf('bob@h').show, 'offline');
  assert.equal(roster.size, 1);
});
