// XMLHttpRequest as strophe.js uses it, which browsers have and Node.js has not: a request by fetch.
export class XMLHttpRequest {
  readyState = 0;
  status = 0;
  responseText = "";
  responseXML = null;
  #abort = new AbortController();

  overrideMimeType() {}
  getAllResponseHeaders = () => "";

  open(method, url) {
    this.request = { method, url, headers: {} };
    this.readyState = 1;
  }

  setRequestHeader(name, value) {
    this.request.headers[name] = value;
  }

  async send(body) {
    const { method, url, headers } = this.request;
    try {
      const response = await fetch(url, { method, headers, body, signal: this.#abort.signal });
      this.responseText = await response.text();
      this.status = response.status;
      if (response.headers.get("Content-Type")?.includes("xml"))
        this.responseXML = new DOMParser().parseFromString(this.responseText, "text/xml");
    } catch {
      this.status = 0; // the network failed
    }
    this.readyState = 4;
    this.onreadystatechange?.();
  }

  abort() {
    this.#abort.abort();
  }
}
