/** The agent's configuration, /etc/weft/agent.json, validated. Each module has a section of its own. */
export interface AgentConfig {
  readonly logLevel?: string | undefined;
}
