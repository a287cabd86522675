import type { FieldScope } from '../../api/search'
import type { View } from '../../view/view'

/** What the panel counts: the events of the search beside it. */
export function scopeOf({ query, start, end }: View): FieldScope {
  return { query, start, ...(end === null ? {} : { end }) }
}
