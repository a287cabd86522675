// One request: the key goes in, a problem document comes out as an exception.
import { parseExact } from './exact'
import { currentKey, keyRefused } from './key'

/** What the server, or the way to it, says against a request. `status` 0: there was no answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    /** Where in the query it went wrong, in characters (code points). */
    readonly position?: number,
  ) {
    super(detail || title)
    this.name = 'Problem'
  }
}

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'DELETE'
  body?: unknown
  signal?: AbortSignal
  accept?: string
  /** Goes on when the page is left. */
  keepalive?: boolean
}

/** Send a request. Gives only answers that say success; raises Problem, and AbortError when `signal` says so. */
export async function send(path: string, options: RequestOptions = {}): Promise<Response> {
  const key = currentKey()
  const headers: Record<string, string> = { Accept: options.accept ?? 'application/json' }
  if (key !== null) headers.Authorization = `Bearer ${key}`
  if (options.body !== undefined) headers['Content-Type'] = 'application/json'
  let response: Response
  try {
    response = await fetch(path, {
      method: options.method ?? 'GET',
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.keepalive === undefined ? {} : { keepalive: options.keepalive }),
    })
  } catch (error) {
    if (isAbort(error)) throw error
    throw new Problem(0, 'No connection', 'The server cannot be reached. It may be starting: try again in a moment.')
  }
  if (response.ok) return response
  if (response.status === 401) keyRefused(key)
  throw await problemOf(response)
}

export async function sendJson<T>(path: string, options: RequestOptions = {}): Promise<T> {
  return parseExact(await (await send(path, options)).text()) as T
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError'
}

/** No key was shown, or one that may not do this: another key is wanted, and asking again is of no use. */
export function isRefused(error: unknown): boolean {
  return error instanceof Problem && (error.status === 401 || error.status === 403)
}

/** Put what was thrown into words. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  return new Problem(0, 'Unexpected', error instanceof Error ? error.message : String(error))
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim()
  try {
    const document = (await response.json()) as Partial<Record<'title' | 'detail', string>> & { position?: number }
    return new Problem(
      response.status,
      document.title ?? fallback,
      document.detail ?? '',
      typeof document.position === 'number' ? document.position : undefined,
    )
  } catch {
    return new Problem(response.status, fallback, '') // a proxy's page, not ours
  }
}

/** Make a path with parameters; those that are undefined are left out. */
export function withParameters(path: string, parameters: Record<string, string | number | undefined>): string {
  const given = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) given.set(name, String(value))
  const text = given.toString()
  return text ? `${path}?${text}` : path
}
