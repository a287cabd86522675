// Looks at the plan before a search runs, and holds back the large ones until somebody wants them anyway.
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'

import { explainQuery, type Explanation } from '../../api/explain'
import { useKey } from '../../api/key'
import type { QueryBody } from '../../api/types'
import type { View } from '../../view/view'
import { FIRST_ROWS } from '../results/run'
import { isLarge } from './large'

/** How long a search waits for its plan: a plan takes milliseconds, and one that does not must not be in the way. */
const WAIT_MS = 1_000

export interface Gate {
  /** The search may run. */
  open: boolean
  /** Set: it waits for a person, for this plan is large. */
  held: Explanation | null
  release: () => void
}

export function bodyOf({ query, start, end, order, executor }: View): QueryBody {
  return { query, start, ...(end === null ? {} : { end }), order, executor, limit: FIRST_ROWS }
}

export function useGate(view: View, round: number): Gate {
  const { key } = useKey()
  const body = bodyOf(view)
  const asked = JSON.stringify(body)
  const [released, setReleased] = useState<string | null>(null)
  const isReleased = released === asked
  const plan = useQuery({
    queryKey: ['plan', asked, round, key],
    queryFn: ({ signal }) => planInTime(body, signal),
    enabled: !isReleased,
    staleTime: Infinity,
    retry: false,
  })
  const held = !isReleased && plan.data != null && isLarge(plan.data) ? plan.data : null
  return {
    open: isReleased || (!plan.isPending && held === null),
    held,
    release: () => setReleased(asked),
  }
}

/** Null: no plan, in time or at all. The search then runs, and tells what is wrong better than a plan does. */
export async function planInTime(body: QueryBody, signal: AbortSignal, waitMs = WAIT_MS): Promise<Explanation | null> {
  const ending = new AbortController()
  const end = () => ending.abort()
  signal.addEventListener('abort', end)
  const timer = setTimeout(end, waitMs)
  try {
    return await explainQuery(body, ending.signal)
  } catch {
    return null
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }
}
