// How the console shows things: faces, drawings, what is said aloud, buttons that ask twice.

import { setData, setText } from './dom.js';

// svg creates an element of a drawing with attributes.
export function svg(name, attributes, ...children) {
  const element = document.createElementNS('http:' + '//www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// setFace makes an element somebody's avatar. The style sheet writes the letter, which is no text: it says nothing to
// those who cannot see it. The colour, one of eight, goes by the address.
export function setFace(element, jid, name) {
  let hash = 0;
  for (const c of jid) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  setData(element, { face: hash % 8, initial: ([...String(name).trim()][0] ?? '?').toLocaleUpperCase() });
}

// announce tells those who cannot see it what has happened.
export function announce(text) {
  document.querySelector('[data-announce]').textContent = text;
}

// askTwice makes a button that does something final ask once more: the first press changes it, the second one, within
// five seconds, acts.
export function askTwice(button, action, label, act) {
  const first = button.textContent;
  const named = button.getAttribute('aria-label');
  let timer;
  const back = () => {
    clearTimeout(timer);
    button.dataset.action = action;
    setText(button, first);
    if (named) button.setAttribute('aria-label', named);
    delete button.dataset.armed;
  };
  button.addEventListener('click', () => {
    if (button.dataset.armed !== undefined) {
      back();
      act();
      return;
    }
    button.dataset.action = `really-${action}`;
    button.dataset.armed = '';
    setText(button, label);
    if (named) button.setAttribute('aria-label', `${label} ${named}`);
    announce(`${label} Press again within five seconds.`);
    timer = setTimeout(back, 5000);
  });
}
