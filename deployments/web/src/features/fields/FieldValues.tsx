// The most frequent values of one field, as bars.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'

import { asProblem } from '../../api/http'
import { getValues } from '../../api/search'
import type { ValuesAnswer } from '../../api/types'
import { addTerm } from '../../query/terms'
import { Button, IconButton } from '../../ui/Button'
import { formatCompact, formatCount } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import { Text } from '../../ui/Text'
import type { View } from '../../view/view'
import styles from './FieldValues.module.css'
import { share, valueTerms, type NamedField } from './names'
import { scopeOf } from './scope'

const TOP = 10
const MORE = 100

interface FieldValuesProps {
  field: NamedField
  view: View
  round: number
  onChange: (part: Partial<View>) => void
}

export function FieldValues({ field, view, round, onChange }: FieldValuesProps) {
  const [top, setTop] = useState(TOP)
  const scope = useMemo(() => scopeOf(view), [view])
  const found = useQuery({
    queryKey: ['values', field.shown, scope, top, round],
    queryFn: ({ signal }) => getValues(field.shown, scope, { top }, signal),
    placeholderData: (before) => before,
  })
  const { data, error, isFetching } = found
  if (error) {
    return (
      <Notice kind="bad">
        {asProblem(error).message}{' '}
        <Button small onClick={() => void found.refetch()}>
          Try again
        </Button>
      </Notice>
    )
  }
  if (!data) return <p className={styles.note}>Counting values …</p>
  const canShowMore = top === TOP && data.values.length === TOP
  return (
    <>
      {data.values.length === 0 && <p className={styles.note}>No event has a value.</p>}
      <ul aria-label={`Values of ${field.shown}`} aria-busy={isFetching}>
        {data.values.map(({ value, count }) => (
          <Value
            key={value}
            field={field}
            value={value}
            count={count}
            rows={data.rows}
            view={view}
            onChange={onChange}
          />
        ))}
      </ul>
      <Rest data={data} />
      {canShowMore && (
        <Button small disabled={isFetching} onClick={() => setTop(MORE)}>
          Show up to {MORE}
        </Button>
      )}
    </>
  )
}

/** What the list does not say: values beyond it, and counts that are not whole. */
function Rest({ data }: { data: ValuesAnswer }) {
  const listed = data.values.reduce((sum, { count }) => sum + count, 0)
  const others = data.rows - listed
  return (
    <>
      {others > 0 && <p className={styles.note}>{formatCount(others)} events have other values</p>}
      {!data.complete && (
        <p className={styles.partial} title={data.incomplete.join('\n')}>
          Not complete: counts are lower bounds. {data.incomplete[0]}
        </p>
      )}
    </>
  )
}

interface ValueProps {
  field: NamedField
  value: string
  count: number
  rows: number
  view: View
  onChange: (part: Partial<View>) => void
}

function Value({ field, value, count, rows, view, onChange }: ValueProps) {
  const terms = valueTerms(field, value)
  const narrow = (term: string) => onChange({ query: addTerm(view.query, term) })
  return (
    <li className={styles.value}>
      <span className={styles.text} title={value}>
        {value === '' ? <i>empty</i> : <Text text={value} />}
      </span>
      <span className={styles.count} title={`${formatCount(count)} events`}>
        {formatCompact(count)} · {share(count, rows)}
      </span>
      {terms && (
        <span className={styles.actions}>
          <IconButton
            small
            weight="plain"
            icon="plus"
            label={`Filter for ${value}`}
            onClick={() => narrow(terms.only)}
          />
          <IconButton
            small
            weight="plain"
            icon="minus"
            label={`Filter out ${value}`}
            onClick={() => narrow(terms.without)}
          />
        </span>
      )}
      {/* Decoration: the share stands beside it in words. */}
      <meter className={styles.bar} aria-hidden="true" min={0} max={Math.max(1, rows)} value={count} />
    </li>
  )
}
