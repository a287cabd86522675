// The most frequent values of one field, as bars; where there are more, those that begin with what is typed.
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'

import { asProblem } from '../../api/http'
import { useKey } from '../../api/key'
import { getValues } from '../../api/search'
import type { ValuesAnswer } from '../../api/types'
import { addTerm } from '../../query/terms'
import { Button, IconButton } from '../../ui/Button'
import { formatCompact, formatCount } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import { SearchInput } from '../../ui/SearchInput'
import { useSettled } from '../../ui/settled'
import { Text } from '../../ui/Text'
import type { View } from '../../view/view'
import styles from './FieldValues.module.css'
import { share, valueTerms, type NamedField } from './names'
import { scopeOf } from './scope'

const TOP = 10
const MORE = 100
/** As many characters as the server takes. */
const MAX_PREFIX_CHARS = 1_000
/** Counting reads much: it waits until nobody types. */
const TYPED_MS = 250

interface FieldValuesProps {
  field: NamedField
  view: View
  round: number
  onChange: (part: Partial<View>) => void
}

export function FieldValues({ field, view, round, onChange }: FieldValuesProps) {
  const [top, setTop] = useState(TOP)
  const [typed, setTyped] = useState('')
  const prefix = useSettled(typed, TYPED_MS)
  const whole = useValues({ field, view, round, top, prefix: '' }) // the same request as the next, until somebody types
  const found = useValues({ field, view, round, top, prefix })
  const { data, error } = found
  const isBusy = found.isFetching || prefix !== typed
  const rows = whole.data?.rows ?? data?.rows ?? 0 // shares are of all, whatever is typed
  // It also stays when what was typed cannot be answered: else nobody could take it back.
  const isSearched = typed !== '' || prefix !== '' || (whole.data !== undefined && hasMore(whole.data))
  return (
    <>
      {isSearched && (
        <SearchInput
          small
          label={`Values of ${field.shown} begin with`}
          placeholder="Value begins with"
          maxLength={MAX_PREFIX_CHARS}
          value={typed}
          onChange={setTyped}
        />
      )}
      {error && <Failed error={error} onAgain={() => void found.refetch()} />}
      {!error && !data && <p className={styles.note}>Counting values …</p>}
      {!error && data && (
        <>
          <Found answer={data} field={field} prefix={prefix} isBusy={isBusy} />
          <ul aria-label={`Values of ${field.shown}`} aria-busy={isBusy}>
            {data.values.map((one) => (
              <Value key={one.value} {...one} field={field} rows={rows} view={view} onChange={onChange} />
            ))}
          </ul>
          <Rest data={data} prefix={prefix} />
          {top === TOP && data.values.length === TOP && hasMore(data) && (
            <Button small disabled={isBusy} onClick={() => setTop(MORE)}>
              Show up to {MORE}
            </Button>
          )}
        </>
      )}
    </>
  )
}

function Failed({ error, onAgain }: { error: Error; onAgain: () => void }) {
  return (
    <Notice kind="bad">
      {asProblem(error).message}{' '}
      <Button small onClick={onAgain}>
        Try again
      </Button>
    </Notice>
  )
}

interface Wanted {
  field: NamedField
  view: View
  round: number
  top: number
  prefix: string
}

/** The most frequent values that begin with `prefix`; those of before while others are counted. */
function useValues({ field, view, round, top, prefix }: Wanted) {
  const { key } = useKey()
  const scope = useMemo(() => scopeOf(view), [view])
  return useQuery({
    queryKey: ['values', field.shown, scope, top, prefix, round, key],
    queryFn: ({ signal }) => getValues(field.shown, scope, prefix === '' ? { top } : { top, prefix }, signal),
    placeholderData: (before) => before,
  })
}

/** Whether there are more values than are listed at first. */
function hasMore({ distinct }: ValuesAnswer): boolean {
  return distinct === null || distinct > TOP
}

interface FoundProps {
  answer: ValuesAnswer
  field: NamedField
  prefix: string
  isBusy: boolean
}

/** What was found of what was typed: read out when it is known. And, for everybody, that it was nothing. */
function Found({ answer: { values, distinct }, field, prefix, isBusy }: FoundProps) {
  if (prefix === '') return values.length === 0 ? <p className={styles.note}>No event has a value.</p> : null
  const nothing = `No value begins so.${field.shown === 'level' ? '' : ' Capital and small letters differ here.'}`
  const some = `${distinct === null ? 'Many' : formatCount(distinct)} ${distinct === 1 ? 'value begins' : 'values begin'} so`
  return (
    <p role="status" className={values.length === 0 && !isBusy ? styles.note : 'quiet'}>
      {isBusy ? '' : values.length === 0 ? nothing : some}
    </p>
  )
}

/** What the list does not say: values beyond it, and counts that are not whole. */
function Rest({ data, prefix }: { data: ValuesAnswer; prefix: string }) {
  const listed = data.values.reduce((sum, { count }) => sum + count, 0)
  const others = data.rows - listed
  return (
    <>
      {others > 0 && (
        <p className={styles.note}>
          {formatCount(others)} events have other values{prefix === '' ? '' : ' that begin so'}
        </p>
      )}
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
