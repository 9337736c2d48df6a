// The conversations of one person: what was said to whom, and what has not been read. Plain data, no DOM: tested with node.

const MOST = 300; // messages kept of each conversation

// A message is {id, mine, text, at (ms since 1970), failed: '' or why it was not delivered}.
export class Chats {
  #chats = new Map(); // bare JID → {messages, unread}

  // with gives the conversation with somebody, to be looked at and not changed.
  with(jid) {
    return this.#chats.get(jid) ?? { messages: [], unread: 0 };
  }

  // partners gives everybody with whom there is a conversation.
  partners() {
    return [...this.#chats.keys()];
  }

  // add notes a message; one that is not mine counts as unread until read is called.
  add(jid, { id, mine, text, at }) {
    const chat = this.#chats.get(jid) ?? { messages: [], unread: 0 };
    this.#chats.set(jid, chat);
    chat.messages.push({ id, mine, text, at, failed: '' });
    if (chat.messages.length > MOST) chat.messages.shift();
    if (!mine) chat.unread += 1;
  }

  // fail notes that a message of mine was not delivered; false when there is no such message.
  fail(jid, id, why) {
    const message = this.#chats.get(jid)?.messages.findLast((m) => m.mine && m.id === id);
    if (message) message.failed = why;
    return Boolean(message);
  }

  // read marks a conversation as read; it says whether that changed anything.
  read(jid) {
    const chat = this.#chats.get(jid);
    if (!chat?.unread) return false;
    chat.unread = 0;
    return true;
  }

  // unread counts the messages that nobody has looked at, in all conversations.
  unread() {
    return [...this.#chats.values()].reduce((sum, chat) => sum + chat.unread, 0);
  }
}
