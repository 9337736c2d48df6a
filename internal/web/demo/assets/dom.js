// Small helpers around the DOM. Text from people goes in by textContent only, here and everywhere.

// fromTemplate copies a <template> of the page.
export function fromTemplate(id) {
  return document.getElementById(id).content.cloneNode(true);
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

// setText changes a text only when it is different, so that nothing is announced or laid out in vain.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// setData does the same for data attributes; undefined removes one.
export function setData(element, values) {
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) delete element.dataset[key];
    else if (element.dataset[key] !== value) element.dataset[key] = value;
  }
}

// setChildren makes wanted the children of parent, moving as little as it can: elements that stay keep their focus,
// scroll position and running animations.
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

// flash marks an element for a moment, so that the eye finds what has changed. How it looks is the style sheet's.
const flashes = new WeakMap();
export function flash(element, kind) {
  clearTimeout(flashes.get(element));
  element.dataset.flash = kind;
  flashes.set(element, setTimeout(() => delete element.dataset.flash, 1800));
}

// setFace makes an element somebody's avatar. The style sheet writes the letter, which is no text: it says nothing to those
// who cannot see it.
export function setFace(element, person, name) {
  setData(element, { person, initial: ([...name.trim()][0] ?? '?').toLocaleUpperCase() });
}

// clock writes a time of day.
export function clock(at, seconds = false) {
  const options = { hour: '2-digit', minute: '2-digit', ...(seconds && { second: '2-digit' }), hourCycle: 'h23' };
  return new Intl.DateTimeFormat(undefined, options).format(at);
}
