// A menu behind a button. Not modal: the modal kind locks scrolling by an inline style sheet, which our policy forbids.
import * as Radix from '@radix-ui/react-dropdown-menu'
import type { ReactNode } from 'react'

import { Icon } from './Icon'
import styles from './Menu.module.css'

interface MenuProps {
  /** A single button. */
  trigger: ReactNode
  children: ReactNode
  align?: 'start' | 'end'
  /** Called before it opens, to make its content fresh. */
  onOpen?: () => void
}

export function Menu({ trigger, children, align = 'end', onOpen }: MenuProps) {
  return (
    <Radix.Root modal={false} onOpenChange={(open) => open && onOpen?.()}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content className={styles.content} align={align} sideOffset={4} collisionPadding={8}>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

interface ItemProps {
  children: ReactNode
  onSelect: () => void
  disabled?: boolean
}

export function MenuItem({ children, onSelect, disabled = false }: ItemProps) {
  return (
    <Radix.Item className={styles.item} onSelect={onSelect} disabled={disabled}>
      {children}
    </Radix.Item>
  )
}

/** An item that is a link; `download` as for `<a>`. */
export function MenuLink({
  children,
  href,
  download = false,
}: {
  children: ReactNode
  href: string
  download?: boolean
}) {
  return (
    <Radix.Item className={styles.item} asChild>
      <a href={href} download={download}>
        {children}
      </a>
    </Radix.Item>
  )
}

interface CheckProps {
  children: ReactNode
  checked: boolean
  onChange: (checked: boolean) => void
}

/** One of several that may be on; the menu stays open. */
export function MenuCheck({ children, checked, onChange }: CheckProps) {
  return (
    <Radix.CheckboxItem
      className={styles.item}
      checked={checked}
      onCheckedChange={onChange}
      onSelect={(event) => event.preventDefault()}
    >
      <span className={styles.check}>{checked && <Icon name="check" size={14} />}</span>
      {children}
    </Radix.CheckboxItem>
  )
}

interface ChoiceProps<T extends string> {
  label: string
  value: T
  options: readonly { value: T; label: string; hint?: string }[]
  onChange: (value: T) => void
}

/** One of several. */
export function MenuChoice<T extends string>({ label, value, options, onChange }: ChoiceProps<T>) {
  return (
    <Radix.RadioGroup value={value} onValueChange={(chosen) => onChange(chosen as T)} aria-label={label}>
      <Radix.Label className={styles.label}>{label}</Radix.Label>
      {options.map((option) => (
        <Radix.RadioItem key={option.value} className={styles.item} value={option.value}>
          <span className={styles.check}>{option.value === value && <Icon name="check" size={14} />}</span>
          {option.label}
          {option.hint !== undefined && <span className={styles.label}>{option.hint}</span>}
        </Radix.RadioItem>
      ))}
    </Radix.RadioGroup>
  )
}

export function MenuLabel({ children }: { children: ReactNode }) {
  return <Radix.Label className={styles.label}>{children}</Radix.Label>
}
