// Names and values for completion, asked of the server once a minute at most for the same search and key.
import { useQueryClient } from '@tanstack/react-query'
import { useMemo } from 'react'

import { useKey } from '../../api/key'
import { getFields, getValues, type FieldScope } from '../../api/search'
import type { Lookup } from '../../query/completion'
import type { View } from '../../view/view'
import { readHistory } from './history'

const STALE_MS = 60_000
const TOP_VALUES = 20

export function useLookup(view: View): Lookup {
  const client = useQueryClient()
  const { key } = useKey() // another one may be of another tenant
  const { start, end } = view
  return useMemo(() => {
    // Of everything in the time range: the query itself is being written.
    const scope: FieldScope = { query: '', start, ...(end === null ? {} : { end }) }
    return {
      history: readHistory,
      fields: async () => {
        try {
          const answer = await client.query({
            queryKey: ['fields', scope, key],
            queryFn: ({ signal }) => getFields(scope, signal),
            staleTime: STALE_MS,
          })
          return answer.fields
        } catch {
          return [] // the columns are known without asking; what is wrong is told by the search
        }
      },
      values: async (field, prefix) => {
        try {
          const answer = await client.query({
            queryKey: ['values', field, prefix, scope, key],
            queryFn: ({ signal }) => getValues(field, scope, { top: TOP_VALUES, prefix }, signal),
            staleTime: STALE_MS,
          })
          return answer.values
        } catch {
          return []
        }
      },
    }
  }, [client, start, end, key])
}
