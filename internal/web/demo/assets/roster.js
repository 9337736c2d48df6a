// A contact list as one client knows it: the items that the server sent (RFC 6121 section 2) and who is there
// (section 4). Plain data, no DOM: tested with node.

// bare gives an address without its resource.
export function bare(jid) {
  return jid.split('/', 1)[0];
}

// local gives what stands before the @.
export function local(jid) {
  return jid.split('@', 1)[0];
}

// The group of contacts that are in none.
export const UNGROUPED = 'Contacts';

const OFFLINE = Object.freeze({ show: 'offline', status: '', priority: -129 });

// Of resources with the same priority, the one that is most likely to answer stands for the contact.
const READINESS = ['chat', 'available', 'away', 'xa', 'dnd', 'offline'];

// An item is {jid, name, groups: [string]}; name is '' when the server gave none.
export class Roster {
  #items = new Map(); // bare JID → item
  #there = new Map(); // bare JID → Map of full JID → {show, status, priority}

  get size() {
    return this.#items.size;
  }

  get(jid) {
    return this.#items.get(jid);
  }

  // name gives what to call an address: the contact's name, else what stands before the @.
  name(jid) {
    return this.#items.get(jid)?.name || local(jid);
  }

  // reset takes a whole list, in place of the one before, and gives the changes as [{jid, kind}].
  reset(items) {
    const gone = new Set(this.#items.keys());
    const changes = [];
    for (const item of items) {
      gone.delete(item.jid);
      const kind = this.set(item);
      if (kind) changes.push({ jid: item.jid, kind });
    }
    for (const jid of gone) changes.push({ jid, kind: this.remove(jid) });
    return changes;
  }

  // set takes one item; it gives 'added', 'changed', or '' when it was so already.
  set(item) {
    const old = this.#items.get(item.jid);
    const groups = [...new Set(item.groups)].sort();
    this.#items.set(item.jid, { jid: item.jid, name: item.name ?? '', groups });
    if (!old) return 'added';
    return old.name === (item.name ?? '') && old.groups.join('\0') === groups.join('\0') ? '' : 'changed';
  }

  // remove takes a contact off; it gives 'removed', or '' when there was none.
  remove(jid) {
    this.#there.delete(jid);
    return this.#items.delete(jid) ? 'removed' : '';
  }

  // presence notes that a resource came, went or changed; show is one of READINESS.
  presence(from, { show = 'available', status = '', priority = 0 }) {
    const jid = bare(from);
    const resources = this.#there.get(jid) ?? new Map();
    if (show !== 'offline') resources.set(from, { show, status, priority });
    else if (from === jid) resources.clear(); // the account as a whole
    else resources.delete(from);
    if (resources.size) this.#there.set(jid, resources);
    else this.#there.delete(jid);
  }

  // forgetPresence is for a lost connection: nobody is known to be there.
  forgetPresence() {
    this.#there.clear();
  }

  // presenceOf gives {show, status} of a contact: that of its first resource by priority, then by readiness.
  presenceOf(jid) {
    const resources = this.#items.has(jid) ? [...(this.#there.get(jid)?.values() ?? [])] : [];
    const better = (a, b) => b.priority - a.priority || READINESS.indexOf(a.show) - READINESS.indexOf(b.show);
    return resources.sort(better)[0] ?? OFFLINE;
  }

  // groups gives the list as it is shown: [{name, items}], groups and items by name, contacts without a group last.
  // More items, such as some that are about to go, may be shown with it.
  groups(more = []) {
    const groups = new Map();
    for (const item of [...this.#items.values(), ...more]) {
      for (const name of item.groups.length ? item.groups : [UNGROUPED]) {
        if (!groups.has(name)) groups.set(name, []);
        groups.get(name).push(item);
      }
    }
    const label = (item) => item.name || item.jid;
    return [...groups]
      .map(([name, items]) => ({ name, items: items.sort((a, b) => label(a).localeCompare(label(b))) }))
      .sort((a, b) => (a.name === UNGROUPED) - (b.name === UNGROUPED) || a.name.localeCompare(b.name));
  }
}
