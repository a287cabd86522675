// Asks for an API key where the server wants one.
import { useState, type SubmitEvent } from 'react'

import { setKey, useKey, wantKey } from '../../api/key'
import { useWhose } from '../../api/whose'
import { Button } from '../../ui/Button'
import { Dialog } from '../../ui/Dialog'
import form from '../../ui/Form.module.css'
import styles from './KeyDialog.module.css'

export function KeyDialog() {
  const { key, stays, wanted } = useKey()
  return wanted ? <AskForKey hasKey={key !== null} stays={stays} /> : null
}

function AskForKey({ hasKey, stays }: { hasKey: boolean; stays: boolean }) {
  const [typed, setTyped] = useState('')
  const [toStay, setToStay] = useState(stays)
  const keep = (event: SubmitEvent) => {
    event.preventDefault()
    if (typed.trim() !== '') setKey(typed.trim(), toStay)
  }
  return (
    <Dialog title="API key" onClose={() => wantKey(false)}>
      <form className={form.form} onSubmit={keep}>
        <ThisKey />
        <p>
          {hasKey
            ? 'Enter another key if this one is not accepted, or you want to use another one.'
            : 'This system answers to who shows a key with the scope “search”.'}{' '}
          <code>ess keys create</code> makes one.
        </p>
        <label className={form.label}>
          Key
          <input
            className={form.input}
            type="password"
            autoComplete="off"
            spellCheck={false}
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
          />
        </label>
        <label className={styles.stay}>
          <input type="checkbox" checked={toStay} onChange={(event) => setToStay(event.target.checked)} />
          Keep it in this browser
        </label>
        <p className={styles.note}>
          {toStay
            ? 'Whoever uses this browser uses this key, until it is forgotten here.'
            : 'It is kept for this tab only, and ends with it.'}{' '}
          It never becomes part of an address.
        </p>
        <div className={form.buttons}>
          {hasKey && <Button onClick={() => setKey(null)}>Forget the key</Button>}
          <Button type="submit" weight="primary" disabled={typed.trim() === ''}>
            Use this key
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

/** What is known of the key that is set. */
function ThisKey() {
  const { key, stays } = useKey()
  const whose = useWhose()
  if (key === null || !whose?.key) return null
  const { id, name, scopes } = whose.key
  return (
    <p>
      The key <code>{id}</code>
      {name !== '' && ` (${name})`} is for the tenant <strong>{whose.tenant}</strong>: {scopes.join(', ')}. It is kept{' '}
      {stays ? 'in this browser.' : 'for this tab.'}
    </p>
  )
}
