// What is asked again and again, and how old what is known of it is.
import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'

import { asProblem, isRefused, type Problem } from './http'
import { useKey } from './key'

/** Some answers must have failed to come by then. */
const STALE_MS = 10_000
const TICK_MS = 1_000

export interface Polled<T> {
  data: T | undefined
  /** Of the last time that it was asked. */
  problem: Problem | null
  isPending: boolean
  ageMs: number
  /** What is known may not be true any more. */
  isOld: boolean
  everyMs: number
  /** Ask at once. */
  again: () => void
}

export function isStale(ageMs: number): boolean {
  return ageMs > STALE_MS
}

/** Ask every `everyMs` with the key that is set; `name` tells what is asked for. */
export function usePolled<T>(name: string, ask: (signal: AbortSignal) => Promise<T>, everyMs: number): Polled<T> {
  const { key } = useKey()
  const query = useQuery({
    queryKey: [name, key],
    queryFn: ({ signal }) => ask(signal),
    // Asking again with a key that was refused would ask for another one again and again.
    refetchInterval: ({ state }) => (isRefused(state.error) ? false : everyMs),
    staleTime: 0,
    retry: false,
  })
  const now = useNow()
  const problem = query.error ? asProblem(query.error) : null
  const ageMs = Math.max(0, now - query.dataUpdatedAt)
  return {
    data: query.data,
    problem,
    isPending: query.isPending,
    ageMs,
    isOld: query.data !== undefined && (isStale(ageMs) || problem !== null),
    everyMs,
    again: () => void query.refetch(),
  }
}

function useNow(): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS)
    return () => clearInterval(timer)
  }, [])
  return now
}
