import {parseArgs} from 'node:util';
import {UsageError, type Command} from './command.ts';

const defaultConfigFile = '/etc/weft/agent.json';

/** `weft agent` */
export const agent: Command = {
  summary: 'run the node agent: plugin calls without a process of their own, and what has to be kept in step',
  usage: `weft agent [options]

  --config FILE     the agent's configuration (default ${defaultConfigFile}, which may be missing)
  --check           read the configuration, say whether it can be used, and end

Runs in the foreground until SIGTERM; SIGHUP reads the configuration again. Tells systemd when it is ready. What is in the
kernel stays as it is when the agent ends. docs/agent.md says what can be configured.`,
  async run({args, env, agent, out}) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: {type: 'string'},
        check: {type: 'boolean', default: false},
      },
    });
    if (positionals[0] !== undefined) throw new UsageError(`unexpected argument "${positionals[0]}"`);
    if (!values.check) return agent().run({configFile: values.config, env});
    agent().check(values.config);
    out(`${values.config ?? defaultConfigFile} can be used`);
    return 0;
  },
};
