// What is counted on the server (an aggregation, a pipe), followed to its end, and freed when nobody looks any more.
import { useEffect, useState } from 'react'

import { follow } from './follow'
import { asProblem, isAbort, type Problem } from './http'
import { cancelQuery } from './search'
import type { AnswerState, Begun } from './types'

export interface Counted<S extends AnswerState> {
  state: S | null
  running: boolean
  problem: Problem | null
  /** When it was asked, to place relative times. */
  askedMs: number
}

function asked<S extends AnswerState>(): Counted<S> {
  return { state: null, running: true, problem: null, askedMs: Date.now() }
}

/** Ask with `create`, anew when it is another function; not while it is null. The other: a way to stop. */
export function useCounted<S extends AnswerState>(create: (() => Promise<Begun>) | null): [Counted<S>, () => void] {
  const [shown, setShown] = useState<Counted<S>>(asked)
  useEffect(() => {
    const ending = new AbortController()
    setShown(asked())
    if (create === null) return
    void count<S>(create, ending.signal, (part) => {
      if (!ending.signal.aborted) setShown((before) => ({ ...before, ...part }))
    })
    return () => ending.abort()
  }, [create])
  const { state, running } = shown
  const stop = () => {
    // Should that fail, it ends by itself.
    if (running && state !== null) void cancelQuery(state.id).catch(() => undefined)
  }
  return [shown, stop]
}

async function count<S extends AnswerState>(
  create: () => Promise<Begun>,
  signal: AbortSignal,
  tell: (part: Partial<Counted<S>>) => void,
): Promise<void> {
  let running: string | null = null
  const free = () => {
    // Should that fail, it ends by itself: there is nobody to tell.
    if (running !== null) void cancelQuery(running).catch(() => undefined)
  }
  try {
    const begun = await create()
    running = begun.id
    if (signal.aborted) {
      free()
      return
    }
    signal.addEventListener('abort', free)
    await follow<S>(begun, { onState: (state) => tell({ state }) }, signal)
    running = null
    tell({ running: false })
  } catch (error) {
    if (!isAbort(error)) tell({ running: false, problem: asProblem(error) })
  }
}
