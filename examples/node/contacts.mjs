// An application that owns contacts, with Node.js alone. See examples/README.md.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const { ROLLCALL = 'http://127.0.0.1:5280', LISTEN = '127.0.0.1:9099', ADMIN_TOKEN } = process.env
const users = new Map([['john', { 'aaron@localhost': { name: 'Aaron' } }], ['marie', {}]])

// Tells rollcall whose contacts have changed. It asks for them before it answers.
async function notify(user) {
  const headers = { 'Content-Type': 'application/json' }
  if (ADMIN_TOKEN) headers.Authorization = `Bearer ${ADMIN_TOKEN}`
  const answer = await fetch(`${ROLLCALL}/roster_admin/refresh`, { method: 'POST', headers, body: JSON.stringify([user]) })
  return answer.json()
}

async function json(request) {
  let body = ''
  for await (const piece of request.setEncoding('utf8')) body += piece
  return JSON.parse(body)
}

async function handle(request, response) {
  const [path] = request.url.split('?')
  const [, contacts, user, contact, more] = path.split('/').map(decodeURIComponent) // split first, then decode, once
  const answer = (status, body = '', headers = {}) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body)
  if (contacts !== 'contacts' || !user || more !== undefined) return answer(404)

  // GET /contacts/USER: whom USER knows.
  if (request.method === 'GET' && contact === undefined) {
    if (!users.has(user)) return answer(404)
    const body = JSON.stringify(users.get(user))
    const ETag = `W/"${createHash('sha256').update(body).digest('base64url')}"`
    return request.headers['if-none-match'] === ETag ? answer(304, '', { ETag }) : answer(200, body, { ETag })
  }
  // PUT /contacts/USER/CONTACT: what USER knows of CONTACT from now on.
  if (request.method === 'PUT' && contact) {
    const item = await json(request)
    users.set(user, { ...users.get(user), [contact]: item })
    return answer(200, JSON.stringify(await notify(user)))
  }
  answer(405)
}

const [, host, port] = LISTEN.match(/^(.*):(\d+)$/)
createServer((request, response) => {
  handle(request, response).catch(error => response.writeHead(500).end(String(error)))
}).listen(Number(port), host)
