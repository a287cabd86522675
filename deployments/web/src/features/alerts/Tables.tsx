// What fires, what was asked, and what nobody is told of, one a line.
import { useState, type ReactNode } from 'react'

import { labelsOf, endSilence, type Alert, type AlertRule, type Alerts, type Silence } from '../../api/alerts'
import { asProblem } from '../../api/http'
import { Button } from '../../ui/Button'
import { Notice } from '../../ui/Notice'
import { Bad, Table } from '../../ui/Table'
import { Text } from '../../ui/Text'
import { Link } from '../../view/Link'
import { formatFullTime } from '../../view/time'
import { searchHref, USUAL, useView } from '../../view/view'
import styles from './Tables.module.css'

/** An alert's rows are told by when they were received, whatever time they tell of themselves. */
const ANY_TIME = '1970-01-01T00:00:00Z'
const NUMBER = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 })

interface ActiveProps {
  alerts: Alert[]
  onSilence: (labels: Record<string, string>) => void
}

export function Active({ alerts, onSilence }: ActiveProps) {
  const [{ zone }] = useView()
  const rows = alerts.map((alert) => [
    <Text key="name" text={nameOf(alert)} />,
    alert.state === 'firing' ? <Bad key="state">{stateOf(alert)}</Bad> : stateOf(alert),
    <Labels key="labels" labels={alert.labels} />,
    alert.value === null ? 'no data' : NUMBER.format(alert.value),
    formatFullTime(alert.active_at, zone),
    alert.query === null ? (
      ''
    ) : (
      <Link
        key="rows"
        href={searchHref({ ...USUAL, zone, query: alert.query, start: ANY_TIME })}
        title={alert.query}
        aria-label={`Show rows of ${nameOf(alert)}`}
      >
        Show rows
      </Link>
    ),
    alert.state === 'resolved' || alert.silenced_by.length > 0 ? (
      ''
    ) : (
      <Button key="silence" small aria-label={`Silence ${nameOf(alert)}`} onClick={() => onSilence(alert.labels)}>
        Silence
      </Button>
    ),
  ])
  return (
    <Table label="Active alerts" head={['Alert', 'State', 'Labels', 'Value', 'Since', 'Rows', 'Silence']} rows={rows} />
  )
}

export function Rules({ alerts }: { alerts: Alerts }) {
  const [{ zone }] = useView()
  const rows = alerts.groups.flatMap((group) =>
    group.rules.map((rule) => [
      <Text key="name" text={`${group.name} / ${rule.alert}`} />,
      ruleState(
        rule,
        alerts.alerts.filter((one) => one.group === group.name && nameOf(one) === rule.alert),
      ),
      <code key="expr" className={styles.expr}>
        <Text text={rule.expr} />
      </code>,
      <Text key="condition" text={rule.condition ?? 'count() > 0'} />,
      rule.last_evaluation === null ? 'not yet' : formatFullTime(rule.last_evaluation.at, zone),
      <Outcome key="outcome" rule={rule} />,
    ]),
  )
  return <Table label="Rules" head={['Rule', 'State', 'Asks', 'Condition', 'Last asked', 'Answer']} rows={rows} />
}

/** Whether the last answer was whole: one that was not changes nothing. */
function Outcome({ rule: { last_evaluation: last } }: { rule: AlertRule }) {
  if (last === null) return null
  return (
    <div className={styles.outcome}>
      {last.complete ? 'complete' : <Bad>incomplete, and so as before</Bad>}
      {[...last.incomplete, ...last.notes].map((reason) => (
        <div key={reason}>
          <Text text={reason} />
        </div>
      ))}
    </div>
  )
}

function ruleState({ last_evaluation }: AlertRule, alerts: Alert[]): ReactNode {
  const count = (state: Alert['state']) => alerts.filter((alert) => alert.state === state).length
  if (count('firing') > 0) return <Bad>{count('firing')} firing</Bad>
  if (count('pending') > 0) return `${count('pending')} pending`
  return last_evaluation === null ? 'not asked yet' : 'quiet'
}

interface SilencesProps {
  silences: Silence[]
  onEnded: () => void
}

export function Silences({ silences, onEnded }: SilencesProps) {
  const [{ zone }] = useView()
  const [failed, setFailed] = useState<string | null>(null)
  const end = async (id: string) => {
    try {
      await endSilence(id)
      setFailed(null)
    } catch (error) {
      setFailed(asProblem(error).message)
    }
    onEnded()
  }
  const rows = silences.map((silence) => [
    <Text key="text" text={silence.text} />,
    silence.active ? 'active' : 'over',
    formatFullTime(silence.ends_at, zone),
    <Text key="comment" text={silence.comment} />,
    <Text key="by" text={silence.created_by} />,
    silence.active ? (
      <Button
        key="end"
        small
        aria-label={`End now the silence of ${silence.text}`}
        onClick={() => void end(silence.id)}
      >
        End now
      </Button>
    ) : (
      ''
    ),
  ])
  return (
    <>
      {failed !== null && <Notice kind="bad">The silence has not ended: {failed}</Notice>}
      <Table label="Silences" head={['Matches', 'State', 'Until', 'Comment', 'By', 'End']} rows={rows} />
    </>
  )
}

function Labels({ labels }: { labels: Record<string, string> }) {
  const shown = labelsOf(labels).filter(([name]) => name !== 'alertname')
  return (
    <ul className={styles.labels}>
      {shown.map(([name, value]) => (
        <li key={name}>
          <Text text={`${name}=${value}`} />
        </li>
      ))}
    </ul>
  )
}

function nameOf({ labels }: Alert): string {
  return labels.alertname ?? ''
}

function stateOf({ state, silenced_by }: Alert): string {
  return silenced_by.length > 0 ? `${state} (silenced)` : state
}
