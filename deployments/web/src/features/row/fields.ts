// The fields of an event as names and texts, and how the query language asks for them.
import type { AttributeValue, LogEvent } from '../../api/types'
import { attributeField } from '../../query/terms'

export interface FieldValue {
  name: string
  value: string | null
  /** How a query names it; null when the language cannot. */
  queryField: string | null
}

type Column = Exclude<keyof LogEvent, 'message' | 'attributes'>

/** Columns as a query names them, and which member of an event each is. Ours have a prefix: without, a client's are meant. */
const SHOWN_COLUMNS: readonly [string, Column][] = [
  ['timestamp', 'timestamp'],
  ['_ess.observed_timestamp', 'observed_timestamp'],
  ['level', 'level'],
  ['severity_number', 'severity_number'],
  ['service', 'service'],
  ['host', 'host'],
  ['trace_id', 'trace_id'],
  ['span_id', 'span_id'],
  ['id', 'id'],
]
/** Where the event lies: below everything else. */
const PLACE_COLUMNS: readonly [string, Column][] = [
  ['_ess.log_id', 'log_id'],
  ['_ess.vnode', 'vnode'],
  ['_ess.offset', 'offset'],
  ['_ess.row', 'row'],
]
const COLUMNS = new Map([...SHOWN_COLUMNS, ...PLACE_COLUMNS])
const TIMES = new Set<string>(['timestamp', '_ess.observed_timestamp'])

/** Moments are shown in the chosen zone, and asked for by the time range. */
export function isTime(name: string): boolean {
  return TIMES.has(name)
}

/** The value of a column or an attribute, as a row shows it. */
export function valueOf(event: LogEvent, name: string): string | null {
  const column = COLUMNS.get(name)
  if (column !== undefined) return textOf(event[column])
  return textOf(event.attributes[name.replace(/^attributes\./, '')] ?? event.attributes[name] ?? null)
}

function textOf(value: AttributeValue): string | null {
  return value === null ? null : String(value)
}

/** All fields but the message: columns that are there, attributes by name, then the place. */
export function fieldsOf(event: LogEvent): FieldValue[] {
  const column = ([name, member]: readonly [string, Column]): FieldValue[] => {
    const value = event[member]
    return value === null ? [] : [{ name, value: String(value), queryField: isTime(name) ? null : name }]
  }
  const attributes = Object.entries(event.attributes)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, value]): FieldValue => ({
      name: attributeName(key),
      value: textOf(value),
      queryField: attributeField(key),
    }))
  return [...SHOWN_COLUMNS.flatMap(column), ...attributes, ...PLACE_COLUMNS.flatMap(column)]
}

/** An attribute that is named like a column keeps its prefix. */
export function attributeName(key: string): string {
  return attributeField(key) ?? key
}
