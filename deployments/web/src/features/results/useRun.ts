import { useEffect, useMemo, useSyncExternalStore } from 'react'

import { useKey } from '../../api/key'
import type { View } from '../../view/view'
import { SearchRun, type RunView } from './run'

/** Run the view's search: anew when what it asks changes, when `round` does, and when the key does; not before `mayRun`. */
export function useRun(view: View, round: number, mayRun: boolean): [RunView, SearchRun] {
  const { query, start, end, order, executor } = view
  const { key } = useKey()
  const run = useMemo(
    () => new SearchRun({ query, start, ...(end === null ? {} : { end }), order, executor }),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the last two ask the same again
    [query, start, end, order, executor, key, round],
  )
  useEffect(() => {
    if (!mayRun) return
    run.start()
    const close = () => run.close()
    window.addEventListener('pagehide', close)
    return () => {
      window.removeEventListener('pagehide', close)
      close()
    }
  }, [run, mayRun])
  return [useSyncExternalStore(run.subscribe, run.read), run]
}
