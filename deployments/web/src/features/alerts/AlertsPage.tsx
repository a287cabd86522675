// Rules, what fires, and silences: asked every few seconds.
import { useState } from 'react'

import { getAlerts, matchersOf, type Alerts } from '../../api/alerts'
import { usePolled } from '../../api/polled'
import { Button } from '../../ui/Button'
import { Empty, Notice } from '../../ui/Notice'
import { PolledPage } from '../polled/PolledPage'
import { Active, Rules, Silences } from './Tables'
import { SilenceDialog } from './SilenceDialog'

const ASK_MS = 5_000
const WANTED = { action: 'see alerts', scopes: ['search'] as const }

export default function AlertsPage() {
  const asked = usePolled('alerts', getAlerts, ASK_MS)
  /** What a new silence begins with; null: none is being made. */
  const [matchers, setMatchers] = useState<string | null>(null)
  return (
    <>
      <PolledPage
        title="Alerts"
        asked={asked}
        wanted={WANTED}
        tools={asked.data && <Button onClick={() => setMatchers('')}>New silence</Button>}
      >
        {(alerts) => (
          <Shown alerts={alerts} onSilence={(labels) => setMatchers(matchersOf(labels))} onChange={asked.again} />
        )}
      </PolledPage>
      {matchers !== null && (
        <SilenceDialog matchers={matchers} onClose={() => setMatchers(null)} onMade={asked.again} />
      )}
    </>
  )
}

interface ShownProps {
  alerts: Alerts
  onSilence: (labels: Record<string, string>) => void
  onChange: () => void
}

function Shown({ alerts, onSilence, onChange }: ShownProps) {
  const unread = alerts.groups.filter(({ flaw }) => flaw !== null)
  return (
    <>
      {unread.length > 0 && (
        <Notice kind="bad">
          {unread.map(({ name, flaw }) => (
            <p key={name}>
              {name}: {flaw}
            </p>
          ))}
        </Notice>
      )}
      <h2>Active</h2>
      {alerts.alerts.length === 0 ? (
        <Empty title="Nothing fires, and nothing has been resolved within the hour" />
      ) : (
        <Active alerts={alerts.alerts} onSilence={onSilence} />
      )}
      <h2>Rules</h2>
      {alerts.groups.every(({ rules }) => rules.length === 0) ? (
        <Empty title="There are no rules">
          <span>
            <code>ess alerts apply rules.yaml</code> keeps some.
          </span>
        </Empty>
      ) : (
        <Rules alerts={alerts} />
      )}
      <h2>Silences</h2>
      {alerts.silences.length === 0 ? (
        <Empty title="There are no silences" />
      ) : (
        <Silences silences={alerts.silences} onEnded={onChange} />
      )}
    </>
  )
}
