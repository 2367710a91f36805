// What plugins in JavaScript share: parameters, settings, faults, and the text of a crash.
import log from "incubate:plugin/log";

/** Throw this to refuse a call; `code` is invalid-input, shape, element-type, budget,
 * unsupported, or internal. */
export class Fault {
  constructor(code, message, hint = null) {
    Object.assign(this, { code, message, hint });
  }
}

/** A parameter of an experiment; `kind` is boolean, integer, number, text, integers, numbers, or
 * texts. Without a default it is required, unless it is optional. */
export function parameter(name, summary, kind, options = {}) {
  const { default: value = null, optional = false, minimum = null, maximum = null, choices = [] } = options;
  const given = value === null ? null : { tag: kind, val: value };
  return { name, summary, kind, default: given, optional, minimum, maximum, choices };
}

/** The hooks of a plugin: keeps the settings by name in `this.settings`, remembers nothing unless
 * the hooks do, and tells the host why it crashed. */
export function plugin(hooks) {
  const self = {
    configure(settings) {
      this.settings = Object.fromEntries(settings.map(({ name, value }) => [name, value.val]));
    },
    save: () => [],
    restore(state) {
      if (state.length > 0) {
        throw new Fault("invalid-input", `a state of ${state.length} bytes, and nothing is remembered`);
      }
    },
    ...hooks,
  };
  const reported = (name) => (...given) => {
    try {
      return self[name](...given);
    } catch (error) {
      if (error instanceof Error) {
        log.write("error", `${error} ${error.stack}`);
      }
      throw error;
    }
  };
  return Object.fromEntries(Object.keys(self).map((name) => [name, reported(name)]));
}
