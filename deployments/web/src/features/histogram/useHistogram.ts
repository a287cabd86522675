// Counts over time by level, of what the search beside it looks at.
import { useMemo } from 'react'

import { useCounted, type Counted } from '../../api/counted'
import { useKey } from '../../api/key'
import { createAggregation } from '../../api/search'
import type { AggregationState } from '../../api/types'
import type { View } from '../../view/view'

export type HistogramView = Counted<AggregationState>

/** Levels that are told apart; the others are counted together. */
const TOP = 10

export function useHistogram(view: View, round: number, mayRun: boolean): HistogramView {
  const { query, start, end, executor } = view
  const { key } = useKey()
<<<<<<< HEAD
  const create = useMemo(() => {
    if (!mayRun) return null
    const body = { query, start, ...(end === null ? {} : { end }), executor, interval: 'auto', by: ['level'], top: TOP }
    return () => createAggregation(body)
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the last two ask the same again
  }, [query, start, end, executor, mayRun, key, round])
  return useCounted<AggregationState>(create)[0]
=======
  const [shown, setShown] = useState<HistogramView>({ state: null, running: true, problem: null, askedMs: Date.now() })
  useEffect(() => {
    const ending = new AbortController()
    setShown({ state: null, running: true, problem: null, askedMs: Date.now() })
    if (!mayRun) return
    const body: AggregationBody = {
      query,
      start,
      ...(end === null ? {} : { end }),
      executor,
      interval: 'auto',
      by: ['level'],
      top: TOP,
    }
    void aggregate(body, ending.signal, (part) => {
      if (!ending.signal.aborted) setShown((before) => ({ ...before, ...part }))
    })
    return () => ending.abort()
  }, [query, start, end, executor, key, round, mayRun])
  return shown
}

async function aggregate(
  body: AggregationBody,
  signal: AbortSignal,
  tell: (part: Partial<HistogramView>) => void,
): Promise<void> {
  let running: string | null = null
  const free = () => {
    // Should that fail, the aggregation ends by itself: there is nobody to tell.
    if (running !== null) void cancelQuery(running).catch(() => undefined)
  }
  try {
    const begun = await createAggregation(body)
    running = begun.id
    if (signal.aborted) {
      free()
      return
    }
    signal.addEventListener('abort', free)
    await follow<AggregationState>(begun, { onState: (state) => tell({ state }) }, signal)
    running = null
    tell({ running: false })
  } catch (error) {
    if (!isAbort(error)) tell({ running: false, problem: asProblem(error) })
  }
>>>>>>> floor
}
