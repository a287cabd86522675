// What a search would do, in figures.
import type { Explanation } from '../../api/explain'
import { formatBytes, formatCount, formatUsd } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import { Text } from '../../ui/Text'
import { formatFullTime } from '../../view/time'
import type { Zone } from '../../view/view'
import styles from './Plan.module.css'

export function Plan({ plan, zone }: { plan: Explanation; zone: Zone }) {
  return (
    <div className={styles.plan}>
      {!plan.complete && (
        <Notice kind="warn">
          <strong>An answer would not be complete just now.</strong>
          <ul>
            {plan.incomplete.map((why) => (
              <li key={why}>{why}</li>
            ))}
          </ul>
        </Notice>
      )}
      <dl className={styles.figures}>
        {figures(plan, zone).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <div>
          <dt>Query as understood</dt>
          <dd>
            <Text text={plan.query} />
          </dd>
        </div>
      </dl>
      <div>
        <h3>What rules rows out untested</h3>
        {plan.prefilter.length === 0 ? (
          <p className={styles.note}>Nothing but the time range: every row in it is tested.</p>
        ) : (
          <ul className={styles.prefilter}>
            {plan.prefilter.map((one) => (
              <li key={one}>
                <Text text={one} />
              </li>
            ))}
          </ul>
        )}
      </div>
      <p className={styles.note}>
        Figures are of a search that has to read everything. One that has its rows before stops there, and an index may
        rule out more. The counts over time and the fields read about as much again.
      </p>
    </div>
  )
}

export function figures(plan: Explanation, zone: Zone): [string, string][] {
  const { lambda } = plan
  return [
    ['To read', `${formatBytes(plan.bytes_to_read)} of ${formatBytes(plan.bytes_total)}`],
    [
      'Objects',
      `${formatCount(plan.objects)} of ${formatCount(plan.objects_total)}, ${formatCount(plan.objects_pruned)} ruled out`,
    ],
    ['Requests to the store', `about ${formatCount(plan.gets)}`],
    ['Not stored yet', `${formatCount(plan.in_flight_rows)} rows`],
    ['Executor', plan.executor],
    ['Tasks', plan.tasks === 0 ? 'none: small enough to be done at once' : formatCount(plan.tasks)],
    [
      'Lambda',
      lambda === null
        ? 'not used'
        : `${formatCount(lambda.invocations)} invocations, about ${formatUsd(lambda.estimated_cost_usd)}`,
    ],
    ['From', plan.start === null ? 'the first event' : formatFullTime(plan.start, zone)],
    ['To', plan.end === null ? 'now' : formatFullTime(plan.end, zone)],
  ]
}
