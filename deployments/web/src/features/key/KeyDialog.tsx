// Asks for an API key where the server wants one.
import { useState, type SubmitEvent } from 'react'

import { setKey, useKey, wantKey } from '../../api/key'
import { Button } from '../../ui/Button'
import { Dialog } from '../../ui/Dialog'
import styles from './KeyDialog.module.css'

export function KeyDialog() {
  const { key, wanted } = useKey()
  return wanted ? <AskForKey hasKey={key !== null} /> : null
}

function AskForKey({ hasKey }: { hasKey: boolean }) {
  const [typed, setTyped] = useState('')
  const keep = (event: SubmitEvent) => {
    event.preventDefault()
    if (typed.trim() !== '') setKey(typed.trim())
  }
  return (
    <Dialog title="API key" onClose={() => wantKey(false)}>
      <form className={styles.form} onSubmit={keep}>
        <p>
          {hasKey
            ? 'The key of this tab is not accepted, or you want to use another one.'
            : 'This system answers to who shows a key with the scope “search”.'}{' '}
          <code>ess keys create</code> makes one.
        </p>
        <label className={styles.label}>
          Key
          <input
            className={styles.input}
            type="password"
            autoComplete="off"
            spellCheck={false}
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
          />
        </label>
        <p className={styles.note}>It is kept for this tab only, and never becomes part of an address.</p>
        <div className={styles.buttons}>
          {hasKey && <Button onClick={() => setKey(null)}>Forget the key</Button>}
          <Button type="submit" weight="primary" disabled={typed.trim() === ''}>
            Use this key
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
