// Downloads under way: a store outside React, so that they go on when the page shows something else.
import { exportPath, type Format } from '../../api/exports'
import { asProblem, isAbort, Problem, send } from '../../api/http'
import { openSink, type Sink } from './sink'

/** Between two changes that are shown. */
const TELL_MS = 200

export interface Download {
  id: number
  name: string
  bytes: number
  state: 'running' | 'done' | 'failed' | 'cancelled'
  /** Why it failed. */
  why: string
}

export class Downloads {
  private list: readonly Download[] = []
  private readonly listeners = new Set<() => void>()
  private readonly running = new Map<number, AbortController>()
  private last = 0

  constructor(private readonly open: (name: string) => Promise<Sink> = openSink) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  readonly read = (): readonly Download[] => this.list

  /** Download an answer. To be called while a click is handled. Ends when the download does, and never raises. */
  async start(queryId: string, format: Format, columns: readonly string[] = []): Promise<void> {
    const name = fileName(queryId, format)
    let sink: Sink
    try {
      sink = await this.open(name)
    } catch (error) {
      if (!isAbort(error)) this.add({ name, state: 'failed', why: asProblem(error).message })
      return
    }
    const id = this.add({ name, state: 'running', why: '' })
    const ending = new AbortController()
    this.running.set(id, ending)
    if (this.running.size === 1) window.addEventListener('beforeunload', warn)
    try {
      await this.transfer(id, exportPath(queryId, format, columns), sink, ending.signal)
      this.change(id, { state: 'done' })
    } catch (error) {
      await sink.abort().catch(() => undefined) // what is to be told is why it was aborted
      if (ending.signal.aborted) this.change(id, { state: 'cancelled' })
      else this.change(id, { state: 'failed', why: reason(error) })
    } finally {
      this.running.delete(id)
      if (this.running.size === 0) window.removeEventListener('beforeunload', warn)
    }
  }

  cancel(id: number): void {
    this.running.get(id)?.abort()
  }

  /** Take one that has ended off the list. */
  dismiss(id: number): void {
    this.set(this.list.filter((download) => download.id !== id))
  }

  private async transfer(id: number, path: string, sink: Sink, signal: AbortSignal): Promise<void> {
    const response = await send(path, { signal, accept: '*/*' })
    const reader = response.body?.getReader()
    let bytes = 0
    let toldMs = 0
    try {
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
        if (done) break
        await sink.write(value)
        bytes += value.byteLength
        if (performance.now() - toldMs > TELL_MS) {
          toldMs = performance.now()
          this.change(id, { bytes })
        }
      }
    } catch (error) {
      await reader?.cancel().catch(() => undefined) // the server stops; the reason to tell is `error`
      throw error
    }
    await sink.close()
    this.change(id, { bytes })
  }

  private add(part: Omit<Download, 'id' | 'bytes'>): number {
    this.last += 1
    this.set([...this.list, { ...part, id: this.last, bytes: 0 }])
    return this.last
  }

  private change(id: number, part: Partial<Download>): void {
    this.set(this.list.map((download) => (download.id === id ? { ...download, ...part } : download)))
  }

  private set(list: readonly Download[]): void {
    this.list = list
    this.listeners.forEach((listener) => listener())
  }
}

export function fileName(queryId: string, format: Format): string {
  return `ess-${queryId}.${format}`
}

/** Whatever is no problem told by the server, nor by the sink, is a connection that broke: the export is not whole. */
function reason(error: unknown): string {
  if (error instanceof TypeError) {
    return 'The download was broken off, so that it is not whole, and it was thrown away. Try again.'
  }
  const { message } = asProblem(error)
  return error instanceof Problem ? message : `It was given up: ${message}.`
}

function warn(event: BeforeUnloadEvent): void {
  event.preventDefault()
}

/** Those of this page. */
export const downloads = new Downloads()
