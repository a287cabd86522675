import { useEffect, useMemo, useSyncExternalStore } from 'react'

import { useKey } from '../../api/key'
import { TailSession, type TailView } from './session'

/** Follow a query: anew when it changes, when `round` does, and when the key does. */
export function useTail(query: string, round: number): [TailView, TailSession] {
  const { key } = useKey()
  const session = useMemo(
    () => new TailSession(query),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the last two ask the same again
    [query, key, round],
  )
  useEffect(() => {
    session.start()
    return () => session.close()
  }, [session])
  return [useSyncExternalStore(session.subscribe, session.read), session]
}
