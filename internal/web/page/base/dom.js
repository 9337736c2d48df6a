// Small helpers around the DOM, for every page. Text from people and servers goes in by textContent only, here and everywhere.

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
// scroll position, and their animations run on.
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
