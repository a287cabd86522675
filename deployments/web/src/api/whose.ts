// Whose events a key pushes and finds.
import { useQuery } from '@tanstack/react-query'

import { sendJson } from './http'
import { useKey } from './key'

export interface Whose {
  tenant: string
  /** null: no key is needed here. */
  key: { id: string; name: string; scopes: string[] } | null
}

/** null while no key is set, or nothing is known of it. */
export function useWhose(): Whose | null {
  const { key } = useKey()
  const { data } = useQuery({
    // By the key itself, which stays in memory: of another key something else is true.
    queryKey: ['whose', key],
    queryFn: ({ signal }) => sendJson<Whose>('/search/v1/key', { signal }),
    enabled: key !== null,
  })
  return key === null ? null : (data ?? null)
}
