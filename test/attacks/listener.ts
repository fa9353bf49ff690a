import { createServer } from 'node:net'
import { promisify } from 'node:util'

/** A listener on loopback that counts who comes. */
export interface Listener extends AsyncDisposable {
  readonly url: string
  readonly contacts: () => number
}

export async function openListener(): Promise<Listener> {
  let contacts = 0
  const server = createServer((socket) => {
    contacts++
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    contacts: () => contacts,
    [Symbol.asyncDispose]: promisify(server.close.bind(server)),
  }
}
