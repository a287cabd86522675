// The fields of the events that match, their most frequent values, and narrowing the query by them.
import { useQuery } from '@tanstack/react-query'
import { useId, useMemo, useState } from 'react'

import { asProblem, isRefused } from '../../api/http'
import { useKey } from '../../api/key'
import { getFields } from '../../api/search'
import { addTerm } from '../../query/terms'
import { Button, IconButton } from '../../ui/Button'
import { formatCompact, formatCount } from '../../ui/format'
import { Icon } from '../../ui/Icon'
import { Notice } from '../../ui/Notice'
import { SearchInput } from '../../ui/SearchInput'
import { Text } from '../../ui/Text'
import type { View } from '../../view/view'
import styles from './FieldsPanel.module.css'
import { FieldValues } from './FieldValues'
import { namedFields, type NamedField } from './names'
import { scopeOf } from './scope'

export interface FieldsPanelProps {
  view: View
  /** Counts anew when it changes. */
  round: number
  onChange: (part: Partial<View>) => void
  /** The search has shown its first rows: counting, which reads much more, may begin. */
  ready: boolean
}

export function FieldsPanel({ view, round, onChange, ready }: FieldsPanelProps) {
  const [wanted, setWanted] = useState('')
  const { key } = useKey()
  const scope = useMemo(() => scopeOf(view), [view])
  const found = useQuery({
    queryKey: ['fields', scope, round, key],
    queryFn: ({ signal }) => getFields(scope, signal),
    enabled: ready,
    placeholderData: (before) => before, // a field that is open stays so while its query is narrowed
  })
  const { data, error } = found
  const isCounting = found.isPending || found.isPlaceholderData
  const fields = useMemo(() => namedFields(data?.fields ?? [], wanted), [data, wanted])
  return (
    <div className={styles.panel}>
      <SearchInput label="Find a field" placeholder="Find a field" value={wanted} onChange={setWanted} />
      {error && asProblem(error).status !== 400 && !isRefused(error) && (
        <Notice kind="bad">
          The fields cannot be counted: {asProblem(error).message}{' '}
          <Button small onClick={() => void found.refetch()}>
            Try again
          </Button>
        </Notice>
      )}
      {isCounting && <p className={styles.note}>Counting fields …</p>}
      {data && !isCounting && <Counted rows={data.rows} complete={data.complete} incomplete={data.incomplete} />}
      {data && fields.length === 0 && (
        <p className={styles.note}>{wanted.trim() === '' ? 'No event matches.' : 'No field is named so.'}</p>
      )}
      <ul className={styles.fields} aria-label="Fields" aria-busy={isCounting}>
        {fields.map((field) => (
          <Field
            key={`${field.kind} ${field.name}`}
            field={field}
            rows={data?.rows ?? 0}
            view={view}
            round={round}
            onChange={onChange}
          />
        ))}
      </ul>
    </div>
  )
}

function Counted({ rows, complete, incomplete }: { rows: number; complete: boolean; incomplete: string[] }) {
  if (complete) return <p className={styles.note}>Of {formatCount(rows)} events</p>
  return (
    <Notice kind="warn">
      Of {formatCount(rows)} events, not all: counts are lower bounds.
      <ul>
        {incomplete.map((why) => (
          <li key={why}>{why}</li>
        ))}
      </ul>
    </Notice>
  )
}

interface FieldProps {
  field: NamedField
  rows: number
  view: View
  round: number
  onChange: (part: Partial<View>) => void
}

function Field({ field, rows, view, round, onChange }: FieldProps) {
  const [open, setOpen] = useState(false)
  const bodyId = useId()
  const name = (
    <>
      <span className={styles.name}>
        <Text text={field.shown} />
      </span>
      <span className={styles.count} title={`in ${formatCount(field.count)} of ${formatCount(rows)} events`}>
        {formatCompact(field.count)}
      </span>
    </>
  )
  if (!field.hasValues) return <li className={styles.bare}>{name}</li>
  return (
    <li>
      <button
        type="button"
        className={styles.toggle}
        aria-expanded={open}
        aria-controls={open ? bodyId : undefined}
        onClick={() => setOpen(!open)}
      >
        <Icon name={open ? 'down' : 'right'} size={12} />
        {name}
      </button>
      {open && (
        <div id={bodyId} className={styles.body}>
          <FieldTools field={field} view={view} onChange={onChange} />
          <FieldValues field={field} view={view} round={round} onChange={onChange} />
        </div>
      )}
    </li>
  )
}

function FieldTools({ field, view, onChange }: Pick<FieldProps, 'field' | 'view' | 'onChange'>) {
  const { shown, queryField } = field
  const isColumn = view.columns.includes(shown)
  const columns = isColumn ? view.columns.filter((name) => name !== shown) : [...view.columns, shown]
  return (
    <div className={styles.tools}>
      {queryField === null ? (
        <p className={styles.note}>The query language cannot name this field.</p>
      ) : (
        <>
          <Button small onClick={() => onChange({ query: addTerm(view.query, `${queryField}:*`) })}>
            With it
          </Button>
          <Button small onClick={() => onChange({ query: addTerm(view.query, `-${queryField}:*`) })}>
            Without it
          </Button>
        </>
      )}
      {!shown.includes(',') && shown !== 'level' && (
        <IconButton
          small
          icon="columns"
          label={isColumn ? `Hide column ${shown}` : `Show column ${shown}`}
          aria-pressed={isColumn}
          onClick={() => onChange({ columns })}
        />
      )}
    </div>
  )
}
