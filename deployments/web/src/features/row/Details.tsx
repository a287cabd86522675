// An opened event: its whole message, every field, and what can be done with them.
import { useState } from 'react'

import type { LogEvent } from '../../api/types'
import type { Marker } from '../../query/matches'
import { addTerm, fieldTerm, negated } from '../../query/terms'
import { Button, buttonClass, IconButton } from '../../ui/Button'
import { copyText } from '../../ui/copy'
import { formatCount } from '../../ui/format'
import { Icon } from '../../ui/Icon'
import { Text } from '../../ui/Text'
import { Link } from '../../view/Link'
import { formatFullTime, toRfc3339 } from '../../view/time'
import { searchHref, type View } from '../../view/view'
import styles from './Details.module.css'
import { fieldsOf, isTime, type FieldValue } from './fields'

/** Characters that are shown before somebody asks for all: half a megabyte of text in one cell makes a page slow. */
const SHOWN_CHARS = 20_000
/** A trace is looked for this long around its event. */
const TRACE_MS = 3_600_000

interface DetailsProps {
  event: LogEvent
  view: View
  marker: Marker
  onChange: (part: Partial<View>) => void
  onAround: (event: LogEvent) => void
}

export function Details({ event, view, marker, onChange, onAround }: DetailsProps) {
  const narrow = (term: string) => onChange({ query: addTerm(view.query, term) })
  return (
    <div className={styles.details}>
      <div className={styles.tools}>
        <CopyButton what="message" text={() => event.message} />
        <CopyButton what="JSON" text={() => JSON.stringify(event, null, 2)} />
        <Button small onClick={() => onAround(event)}>
          <Icon name="around" size={14} /> Show around
        </Button>
        {event.trace_id !== null && (
          <Link className={buttonClass('usual', true)} href={traceHref(event, view)}>
            <Icon name="list" size={14} /> Trace’s events
          </Link>
        )}
      </div>
      <Message text={event.message} marker={marker} />
      <dl className={styles.fields}>
        {fieldsOf(event).map((field) => (
          <Field key={field.name} field={field} view={view} onNarrow={narrow} onChange={onChange} />
        ))}
      </dl>
    </div>
  )
}

function traceHref(event: LogEvent, view: View): string {
  const at = Date.parse(event.timestamp)
  const range = { start: toRfc3339(at - TRACE_MS), end: toRfc3339(at + TRACE_MS) }
  return searchHref({ ...view, ...range, query: fieldTerm('trace_id', event.trace_id), order: 'oldest' })
}

function Message({ text, marker }: { text: string; marker: Marker }) {
  const [whole, setWhole] = useState(text.length <= SHOWN_CHARS)
  const shown = whole ? text : text.slice(0, SHOWN_CHARS)
  return (
    <>
      <pre className={styles.message}>
        <Text text={shown} spans={marker(shown)} />
      </pre>
      {!whole && (
        <Button small onClick={() => setWhole(true)}>
          Show all {formatCount(text.length)} characters
        </Button>
      )}
    </>
  )
}

interface FieldProps {
  field: FieldValue
  view: View
  onNarrow: (term: string) => void
  onChange: (part: Partial<View>) => void
}

function Field({ field, view, onNarrow, onChange }: FieldProps) {
  const { name, value, queryField } = field
  const term = queryField === null ? null : fieldTerm(queryField, value)
  const isColumn = view.columns.includes(name)
  const columns = isColumn ? view.columns.filter((other) => other !== name) : [...view.columns, name]
  return (
    <div className={styles.field}>
      <dt>
        <Text text={name} />
      </dt>
      <dd>
        <span className={styles.value}>
          {value === null ? <i>null</i> : <Text text={isTime(name) ? formatFullTime(value, view.zone) : value} />}
        </span>
        <span className={styles.actions}>
          {term !== null && (
            <>
              <IconButton
                small
                weight="plain"
                icon="plus"
                label={`Filter for ${name}`}
                onClick={() => onNarrow(term)}
              />
              <IconButton
                small
                weight="plain"
                icon="minus"
                label={`Filter out ${name}`}
                onClick={() => onNarrow(negated(term))}
              />
            </>
          )}
          {!isTime(name) && name !== 'level' && !name.includes(',') && (
            <IconButton
              small
              weight="plain"
              icon="columns"
              label={isColumn ? `Hide column ${name}` : `Show column ${name}`}
              aria-pressed={isColumn}
              onClick={() => onChange({ columns })}
            />
          )}
          <CopyButton what={name} text={() => value ?? ''} bare />
        </span>
      </dd>
    </div>
  )
}

/** `bare`: the icon alone. Says for a moment whether it worked. */
function CopyButton({ what, text, bare = false }: { what: string; text: () => string; bare?: boolean }) {
  const [told, setTold] = useState<'copied' | 'not copied: the browser refuses' | null>(null)
  const copy = async () => {
    setTold((await copyText(text())) ? 'copied' : 'not copied: the browser refuses')
    setTimeout(() => setTold(null), TOLD_MS)
  }
  const label = told === null ? `Copy ${what}` : `${what} ${told}`
  const icon = told === 'copied' ? 'check' : told === null ? 'copy' : 'warning'
  if (bare) return <IconButton small weight="plain" icon={icon} label={label} onClick={copy} />
  return (
    <Button small onClick={copy}>
      <Icon name={icon} size={14} /> <span aria-live="polite">{label}</span>
    </Button>
  )
}

const TOLD_MS = 1_500
