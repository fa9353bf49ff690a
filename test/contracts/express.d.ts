// The part of Express 5 that these tests use; the package ships no types.
declare module 'express' {
  import type { IncomingMessage, Server, ServerResponse } from 'node:http'

  export interface Request extends IncomingMessage {
    readonly params: Readonly<Record<string, string>>
    readonly originalUrl: string
    readonly body: unknown
  }
  export interface Response extends ServerResponse {
    status(code: number): this
    json(body: unknown): this
    send(body: string): this
  }
  export type Handler = (req: Request, res: Response, next: (error?: unknown) => void) => unknown
  export interface Router extends Handler {
    (req: Request, res: Response, next: (error?: unknown) => void): unknown
    use(...handlers: Handler[]): this
    use(path: string, ...handlers: Handler[]): this
    get(path: string, ...handlers: Handler[]): this
    post(path: string, ...handlers: Handler[]): this
  }
  export interface Application extends Router {
    (req: IncomingMessage, res: ServerResponse): void
    listen(port: number, host: string, ready: () => void): Server
    set(name: string, value: unknown): this
  }
  export function Router(): Router
  export function json(): Handler
  export default function express(): Application
}
