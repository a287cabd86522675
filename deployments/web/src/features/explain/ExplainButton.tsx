// Beside the button that searches: what would it do?
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'

import { explainQuery } from '../../api/explain'
import { asProblem } from '../../api/http'
import { Button } from '../../ui/Button'
import { Dialog } from '../../ui/Dialog'
import { Notice } from '../../ui/Notice'
import { useShortcuts } from '../../ui/shortcuts'
import type { View } from '../../view/view'
import { Plan } from './Plan'
import { bodyOf } from './useGate'

/** `view`: with the query as it is written just now. */
export function ExplainButton({ view }: { view: View }) {
  const [open, setOpen] = useState(false)
  useShortcuts({ e: () => setOpen(true) })
  return (
    <>
      <Button onClick={() => setOpen(true)} title="What this search would read (e)" aria-haspopup="dialog">
        Explain
      </Button>
      {open && <ExplainDialog view={view} onClose={() => setOpen(false)} />}
    </>
  )
}

function ExplainDialog({ view, onClose }: { view: View; onClose: () => void }) {
  const body = bodyOf(view)
  const plan = useQuery({
    queryKey: ['explain', body],
    queryFn: ({ signal }) => explainQuery(body, signal),
    staleTime: 0,
    gcTime: 0,
  })
  return (
    <Dialog title="What this search would do" onClose={onClose}>
      {plan.error && (
        <Notice kind="bad">
          <strong>{asProblem(plan.error).title}.</strong> {asProblem(plan.error).detail}
        </Notice>
      )}
      {plan.isPending && <p role="status">Planning …</p>}
      {plan.data && <Plan plan={plan.data} zone={view.zone} />}
    </Dialog>
  )
}
