import { useMemo } from 'react'

import { useCounted, type Counted } from '../../api/counted'
import { useKey } from '../../api/key'
import { createPipe } from '../../api/search'
import type { PipeState } from '../../api/types'
import type { View } from '../../view/view'

export type PipeView = Counted<PipeState>

/** Ask the view's pipe: anew when what it asks changes, when `round` does, and when the key does. The other: stop it. */
export function usePipe(view: View, round: number): [PipeView, () => void] {
  const { query, start, end, executor, zone } = view
  const { key } = useKey()
  const create = useMemo(() => {
    const time_zone = zone === 'utc' ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone
    return () => createPipe({ query, start, ...(end === null ? {} : { end }), executor, time_zone })
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the last two ask the same again
  }, [query, start, end, executor, zone, key, round])
  return useCounted<PipeState>(create)
}
