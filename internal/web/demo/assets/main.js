// The page: signs everybody in, puts two of them into the windows, and keeps the application's panel up to date.

import { AppPanel } from './app.js';
import { make, setText } from './dom.js';
import { flash, setFace } from './look.js';
import { Pane } from './pane.js';
import { Person } from './person.js';

// How the people begin, so that the lists have something to show.
const BEGIN = { carol: { show: 'away', status: 'at lunch' } };

const announcer = document.querySelector('[data-announce]');
const panel = new AppPanel(document.querySelector('[data-app]'));
const panes = {}; // left and right, once it is known who there is
const narrow = matchMedia('(max-width: 719px)');

follow();
const state = await firstState();
const people = new Map(state.people.map((p) => [p.id, new Person({ ...p, ...BEGIN[p.id], url: socketURL() })]));
for (const side of ['left', 'right']) {
  panes[side] = new Pane(document.querySelector(`[data-pane="${side}"]`), people, (id) => choose(side, id));
}
panes.left.preferred = () => panes.right.person?.jid;
panes.right.preferred = () => panes.left.person?.jid;
const [left, right] = chosen();
panes.left.show(people.get(left));
panes.right.show(people.get(right));
panel.setOwner(left);
wire();
for (const person of people.values()) person.start();

// firstState asks the application who there is, until it answers.
async function firstState() {
  for (;;) {
    try {
      const answer = await fetch('app/state');
      if (answer.ok) return await answer.json();
    } catch {
      // Not there yet; the panel says so, as follow finds the same.
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// follow keeps the panel up to date from the application's feed.
function follow() {
  const feed = new EventSource('app/feed');
  feed.addEventListener('state', ({ data }) => {
    const now = JSON.parse(data);
    panel.setTrouble('');
    panel.setState(now);
    for (const pane of Object.values(panes)) {
      pane.appMode = now.mode;
      pane.render();
    }
  });
  feed.addEventListener('line', ({ data }) => panel.addLine(JSON.parse(data)));
  feed.addEventListener('error', () => {
    panel.setTrouble('The demo cannot be reached. Is it still running? Trying again.');
    if (feed.readyState === EventSource.CLOSED) setTimeout(follow, 3000); // refused: browsers give up then
  });
}

function socketURL() {
  const url = new URL('xmpp-websocket', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  return url.href;
}

// chosen reads from the address who is in the windows: #alice,bob.
function chosen() {
  const ids = location.hash.slice(1).split(',');
  return ids.length === 2 && ids[0] !== ids[1] && ids.every((id) => people.has(id)) ? ids : ['alice', 'bob'];
}

// choose puts a person into a window; who is in the other one changes places.
function choose(side, id) {
  const other = side === 'left' ? 'right' : 'left';
  const before = panes[side].person;
  if (panes[other].person.id === id) panes[other].show(before);
  panes[side].show(people.get(id));
  history.replaceState(null, '', `#${panes.left.person.id},${panes.right.person.id}`);
  renderTabs();
}

function wire() {
  for (const tab of document.querySelectorAll('[role="tab"]')) {
    tab.addEventListener('click', () => openView(tab.dataset.view));
    tab.addEventListener('keydown', ({ key }) => {
      const next = { ArrowRight: 'nextElementSibling', ArrowLeft: 'previousElementSibling' }[key];
      tab[next]?.click();
      tab[next]?.focus();
    });
  }
  for (const person of people.values()) {
    person.addEventListener('change', renderTabs);
    person.addEventListener('contact', ({ detail }) => {
      const side = Object.keys(panes).find((key) => panes[key].person === person);
      if (!side) return;
      setText(announcer, `${person.name}'s contacts: ${detail.name} ${detail.kind}`);
      if (!panes[side].visible) flash(document.getElementById(`tab-${side}`), detail.kind);
    });
  }
  addEventListener('online', () => people.forEach((person) => person.hurry()));
  addEventListener('pagehide', () => people.forEach((person) => person.stop()));
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) people.forEach((person) => person.show !== 'offline' && person.start());
  });
  document.addEventListener('visibilitychange', () => Object.values(panes).forEach((pane) => pane.render()));
  narrow.addEventListener('change', () => openView(document.body.dataset.view));
  openView(document.body.dataset.view);
}

// openView chooses what a narrow window shows.
function openView(view) {
  document.body.dataset.view = view;
  for (const tab of document.querySelectorAll('[role="tab"]')) {
    const selected = tab.dataset.view === view;
    tab.setAttribute('aria-selected', String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
  Object.values(panes).forEach((pane) => pane.render());
  renderTabs();
}

function renderTabs() {
  for (const side of ['left', 'right']) {
    const { person } = panes[side];
    const unread = panes[side].visible ? 0 : person.chats.unread();
    const face = make('span', { className: 'avatar avatar-small' });
    setFace(face, person.id, person.name);
    const label = `${person.name.split(' ')[0]}${unread ? ` ${unread} unread` : ''}`;
    const tab = document.getElementById(`tab-${side}`);
    if (tab.ariaLabel === label && tab.dataset.person === person.id) continue;
    tab.ariaLabel = label;
    tab.dataset.person = person.id;
    tab.replaceChildren(face,
      make('b', { textContent: person.name.split(' ')[0] }), ' ',
      make('span', { className: 'badge', textContent: unread ? String(unread) : '' }));
  }
}
