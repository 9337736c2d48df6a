// What happens, as it happens: a line for each event.

import { make, setData } from './dom.js';
import { clock } from './text.js';

const KEPT = 500; // lines
const KINDS = { notification: 'Notifications', write: 'Writes', operator: 'Operators' };

export class Feed {
  #list = document.querySelector('[data-feed]');
  #shown = new Set(Object.keys(KINDS));
  #next = 0;
  #following = true; // the end is in sight, and stays so

  constructor() {
    this.#list.addEventListener('scroll', () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#list;
      if (clientHeight > 0) this.#following = scrollHeight - scrollTop - clientHeight < 40;
    });
    new ResizeObserver(() => this.follow()).observe(this.#list);
    const kinds = document.querySelector('[data-slot="kinds"]');
    for (const [kind, name] of Object.entries(KINDS)) {
      const input = make('input', { type: 'checkbox', value: kind, checked: true });
      input.dataset.action = 'kind';
      input.addEventListener('change', () => this.#choose(kind, input.checked));
      kinds.append(make('label', {}, input, make('span', { textContent: name })));
    }
    document.querySelector('[data-action="clear"]').addEventListener('click', () => this.clear());
  }

  clear() {
    this.#list.replaceChildren();
  }

  #choose(kind, on) {
    if (on) this.#shown.add(kind);
    else this.#shown.delete(kind);
    for (const line of this.#list.children) line.hidden = !this.#isShown(line.dataset.kind);
    this.follow();
  }

  // follow goes to the end, unless somebody is reading further up.
  follow() {
    if (this.#following) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #isShown(kind) {
    return this.#shown.has(kind);
  }

  // add shows a line: {kind, state, at, what, result, more}. state is ok, failed or held.
  add({ kind, state, at, what, result, more }) {
    const list = this.#list;
    const text = make('span', { className: 'line-text' }, make('span', { className: 'line-what', textContent: what }));
    if (result) text.append(' ', make('b', { textContent: result }));
    if (more) text.append(' ', make('i', { textContent: more }));
    const line = make('li', { hidden: !this.#isShown(kind) }, make('time', { textContent: clock(at), dateTime: new Date(at).toISOString() }), text);
    setData(line, { event: this.#next++, kind, state });
    list.append(line);
    while (list.children.length > KEPT) list.firstElementChild.remove();
    this.follow();
  }
}
