// Lines puts events together from pieces of text, as "Server-sent events" in the HTML standard says.
export class Lines {
  #heard;
  #rest = '';
  #event = {};

  constructor(heard) {
    this.#heard = heard;
  }

  add(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === '') {
      const { id, type = 'message', data } = this.#event;
      this.#event = {};
      if (data !== undefined) this.#heard({ id, type, data });
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === 'data') this.#event.data = this.#event.data === undefined ? value : `${this.#event.data}\n${value}`;
    if (field === 'event') this.#event.type = value;
    if (field === 'id') this.#event.id = value;
  }
}
