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
  const create = useMemo(() => {
    if (!mayRun) return null
    const body = { query, start, ...(end === null ? {} : { end }), executor, interval: 'auto', by: ['level'], top: TOP }
    return () => createAggregation(body)
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the last two ask the same again
  }, [query, start, end, executor, mayRun, key, round])
  return useCounted<AggregationState>(create)[0]
}
