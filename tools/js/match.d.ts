import type { Message, State } from "touchline";

/** `<touchline-match match="..." server="..." events="5" theme="dark">`;
 * importing this module defines it. */
export interface TouchlineMatchElement extends HTMLElement {
  addEventListener(type: "touchline-event", listener: (e: CustomEvent<Message>) => void): void;
  addEventListener(type: "touchline-state", listener: (e: CustomEvent<State>) => void): void;
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "touchline-match": TouchlineMatchElement;
  }
}
