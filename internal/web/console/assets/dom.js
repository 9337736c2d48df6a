// Small helpers around the DOM. Text from the server goes in by textContent only, here and everywhere.

// fromTemplate copies the element in a <template> of the page.
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

// slots finds the elements that the script fills: {name: element} for each data-slot.
export function slots(root) {
  return Object.fromEntries([...root.querySelectorAll('[data-slot]')].map((e) => [e.dataset.slot, e]));
}

// make creates an element with properties and children.
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// svg creates an element of a drawing with attributes.
export function svg(name, attributes, ...children) {
  const element = document.createElementNS('http:' + '//www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// setText changes a text only when it is different, so that nothing is announced or laid out in vain.
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

// setData does the same for data attributes; undefined removes one.
export function setData(element, values) {
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) delete element.dataset[key];
    else if (element.dataset[key] !== String(value)) element.dataset[key] = value;
  }
}

// setChildren makes wanted the children of parent, moving as little as it can: elements that stay keep their focus and
// scroll position.
export function setChildren(parent, wanted) {
  const focused = document.activeElement;
  const keep = new Set(wanted);
  for (const node of [...parent.children]) {
    if (!keep.has(node)) node.remove();
  }
  wanted.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
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
