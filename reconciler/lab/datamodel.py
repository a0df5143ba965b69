"""Classes, fields, types and defaults of the XenAPI data model that the lab serves (as release 24.16 has them).

Words of text instead of a thousand declarations: `name:type=default!`, where `!` marks a field with a plain setter.
Types: s string, i int, f float, b bool, d date, e enum, m map of strings, S set of strings, E set of enums,
ops map of task to operation, set(X), map(K>V), and the name of a class for a reference to it.
"""

CLASSES = """
pool
    uuid:s name_label:s! name_description:s! master:host default_SR:SR! suspend_image_SR:SR! crash_dump_SR:SR!
    other_config:m! ha_enabled:b ha_configuration:m ha_statefiles:S ha_host_failures_to_tolerate:i
    ha_plan_exists_for:i ha_allow_overcommit:b! ha_overcommitted:b blobs:map(s>blob) tags:S! gui_config:m!
    health_check_config:m! wlb_url:s wlb_username:s wlb_enabled:b! wlb_verify_cert:b! redo_log_enabled:b
    redo_log_vdi:VDI vswitch_controller:s restrictions:m metadata_VDIs:set(VDI) ha_cluster_stack:s
    allowed_operations:E current_operations:ops guest_agent_config:m cpu_info:m policy_no_vendor_device:b!
    live_patching_disabled:b! igmp_snooping_enabled:b uefi_certificates:s custom_uefi_certificates:s
    is_psr_pending:b! tls_verification_enabled:b repositories:set(Repository) client_certificate_auth_enabled:b
    client_certificate_auth_name:s repository_proxy_url:s repository_proxy_username:s
    repository_proxy_password:secret migration_compression:b! coordinator_bias:b=true! local_auth_max_threads:i=8
    ext_auth_max_threads:i=1 telemetry_uuid:secret telemetry_frequency:e=weekly telemetry_next_collection:d
    last_update_sync:d update_sync_frequency:e=weekly update_sync_day:i update_sync_enabled:b
host
    uuid:s name_label:s! name_description:s! memory_overhead:i allowed_operations:E current_operations:ops
    API_version_major:i API_version_minor:i API_version_vendor:s API_version_vendor_implementation:m enabled:b
    software_version:m other_config:m! capabilities:S cpu_configuration:m sched_policy:s supported_bootloaders:S
    resident_VMs:set(VM) logging:m! PIFs:set(PIF) suspend_image_sr:SR! crash_dump_sr:SR!
    crashdumps:set(host_crashdump) patches:set(host_patch) updates:set(pool_update) PBDs:set(PBD)
    host_CPUs:set(host_cpu) cpu_info:m hostname:s! address:s! metrics:host_metrics license_params:m ha_statefiles:S
    ha_network_peers:S blobs:map(s>blob) tags:S! external_auth_type:s external_auth_service_name:s
    external_auth_configuration:m edition:s license_server:m! bios_strings:m power_on_mode:s power_on_config:m
    local_cache_sr:SR chipset_info:m PCIs:set(PCI) PGPUs:set(PGPU) PUSBs:set(PUSB) ssl_legacy:b=true
    guest_VCPUs_params:m! display:e=enabled! virtual_hardware_platform_versions:set(i) control_domain:VM
    updates_requiring_reboot:set(pool_update) features:set(Feature) iscsi_iqn:s multipathing:b uefi_certificates:s
    certificates:set(Certificate) editions:S pending_guidances:E tls_verification_enabled:b last_software_update:d
    https_only:b latest_synced_updates_applied:e=unknown numa_affinity_policy:e=default_policy
    pending_guidances_recommended:E pending_guidances_full:E last_update_hash:s
host_metrics
    uuid:s memory_total:i memory_free:i live:b last_updated:d other_config:m!
host_cpu
    uuid:s host:host number:i vendor:s speed:i modelname:s family:i model:i stepping:s flags:s features:s
    utilisation:f other_config:m!
VM
    uuid:s allowed_operations:E current_operations:ops name_label:s! name_description:s! power_state:e=Halted
    user_version:i! is_a_template:b! is_default_template:b suspend_VDI:VDI! resident_on:host
    scheduled_to_be_resident_on:host affinity:host! memory_overhead:i memory_target:i memory_static_max:i
    memory_dynamic_max:i memory_dynamic_min:i memory_static_min:i VCPUs_params:m! VCPUs_max:i VCPUs_at_startup:i
    actions_after_softreboot:e=soft_reboot! actions_after_shutdown:e=destroy! actions_after_reboot:e=restart!
    actions_after_crash:e=restart! consoles:set(console) VIFs:set(VIF) VBDs:set(VBD) VUSBs:set(VUSB)
    crash_dumps:set(crashdump) VTPMs:set(VTPM) PV_bootloader:s! PV_kernel:s! PV_ramdisk:s! PV_args:s!
    PV_bootloader_args:s! PV_legacy_args:s! HVM_boot_policy:s HVM_boot_params:m! HVM_shadow_multiplier:f=1.
    platform:m! PCI_bus:s! other_config:m! domid:i domarch:s last_boot_CPU_flags:m is_control_domain:b
    metrics:VM_metrics guest_metrics:VM_guest_metrics last_booted_record:s recommendations:s! xenstore_data:m!
    ha_always_run:b ha_restart_priority:s! is_a_snapshot:b snapshot_of:VM snapshots:set(VM) snapshot_time:d
    transportable_snapshot_id:s blobs:map(s>blob) tags:S! blocked_operations:map(e>s)! snapshot_info:m
    snapshot_metadata:s parent:VM children:set(VM) bios_strings:m protection_policy:VMPP is_snapshot_from_vmpp:b
    snapshot_schedule:VMSS is_vmss_snapshot:b appliance:VM_appliance! start_delay:i! shutdown_delay:i! order:i!
    VGPUs:set(VGPU) attached_PCIs:set(PCI) suspend_SR:SR! version:i generation_id:s=0:0 hardware_platform_version:i!
    has_vendor_device:b=true requires_reboot:b reference_label:s domain_type:e=unspecified NVRAM:m!
    pending_guidances:E pending_guidances_recommended:E pending_guidances_full:E groups:set(VM_group)
VM_metrics
    uuid:s memory_actual:i VCPUs_number:i VCPUs_utilisation:map(i>f) VCPUs_CPU:map(i>i) VCPUs_params:m
    VCPUs_flags:map(i>S) state:S start_time:d install_time:d last_updated:d other_config:m! hvm:b nested_virt:b
    nomigrate:b current_domain_type:e=unspecified
VM_guest_metrics
    uuid:s os_version:m PV_drivers_version:m PV_drivers_up_to_date:b memory:m disks:m networks:m other:m
    last_updated:d other_config:m! live:b can_use_hotplug_vbd:e=unspecified can_use_hotplug_vif:e=unspecified
    PV_drivers_detected:b
VBD
    uuid:s allowed_operations:E current_operations:ops VM:VM VDI:VDI device:s userdevice:s! bootable:b! mode:e=RW
    type:e=Disk! unpluggable:b=true! storage_lock:b empty:b other_config:m! currently_attached:b status_code:i
    status_detail:s runtime_properties:m qos_algorithm_type:s! qos_algorithm_params:m! qos_supported_algorithms:S
    metrics:VBD_metrics
VBD_metrics
    uuid:s io_read_kbs:f io_write_kbs:f last_updated:d other_config:m!
VDI
    uuid:s name_label:s! name_description:s! allowed_operations:E current_operations:ops SR:SR VBDs:set(VBD)
    crash_dumps:set(crashdump) virtual_size:i physical_utilisation:i type:e=user sharable:b! read_only:b!
    other_config:m! storage_lock:b location:s managed:b missing:b parent:VDI xenstore_data:m! sm_config:m!
    is_a_snapshot:b snapshot_of:VDI snapshots:set(VDI) snapshot_time:d tags:S! allow_caching:b on_boot:e=persist
    metadata_of_pool:pool= metadata_latest:b is_tools_iso:b cbt_enabled:b
VIF
    uuid:s allowed_operations:E current_operations:ops device:s network:network VM:VM MAC:s MTU:i other_config:m!
    currently_attached:b status_code:i status_detail:s runtime_properties:m qos_algorithm_type:s!
    qos_algorithm_params:m! qos_supported_algorithms:S metrics:VIF_metrics MAC_autogenerated:b
    locking_mode:e=network_default ipv4_allowed:S ipv6_allowed:S ipv4_configuration_mode:e=None ipv4_addresses:S
    ipv4_gateway:s ipv6_configuration_mode:e=None ipv6_addresses:S ipv6_gateway:s
VIF_metrics
    uuid:s io_read_kbs:f io_write_kbs:f last_updated:d other_config:m!
network
    uuid:s name_label:s! name_description:s! allowed_operations:E current_operations:ops VIFs:set(VIF) PIFs:set(PIF)
    MTU:i=1500! other_config:m! bridge:s managed:b=true blobs:map(s>blob) tags:S! default_locking_mode:e=unlocked
    assigned_ips:map(VIF>s) purpose:E
PIF
    uuid:s device:s network:network host:host MAC:s MTU:i VLAN:i metrics:PIF_metrics physical:b
    currently_attached:b=true ip_configuration_mode:e=None IP:s netmask:s gateway:s DNS:s bond_slave_of:Bond
    bond_master_of:set(Bond) VLAN_master_of:VLAN VLAN_slave_of:set(VLAN) management:b other_config:m!
    disallow_unplug:b tunnel_access_PIF_of:set(tunnel) tunnel_transport_PIF_of:set(tunnel)
    ipv6_configuration_mode:e=None IPv6:S ipv6_gateway:s primary_address_type:e=IPv4 managed:b=true properties:m
    capabilities:S igmp_snooping_status:e=unknown sriov_physical_PIF_of:set(network_sriov)
    sriov_logical_PIF_of:set(network_sriov) PCI:PCI
PIF_metrics
    uuid:s io_read_kbs:f io_write_kbs:f carrier:b vendor_id:s vendor_name:s device_id:s device_name:s speed:i
    duplex:b pci_bus_path:s last_updated:d other_config:m!
Bond
    uuid:s master:PIF slaves:set(PIF) other_config:m! primary_slave:PIF mode:e=balance-slb properties:m links_up:i
    auto_update_mac:b=true
network_sriov
    uuid:s physical_PIF:PIF logical_PIF:PIF requires_reboot:b configuration_mode:e=sysfs
VLAN
    uuid:s tagged_PIF:PIF untagged_PIF:PIF tag:i=-1 other_config:m!
tunnel
    uuid:s access_PIF:PIF transport_PIF:PIF status:m! other_config:m! protocol:e=gre!
PBD
    uuid:s host:host SR:SR device_config:m currently_attached:b other_config:m!
SR
    uuid:s name_label:s! name_description:s! allowed_operations:E current_operations:ops VDIs:set(VDI) PBDs:set(PBD)
    virtual_allocation:i physical_utilisation:i physical_size:i type:s content_type:s shared:b! other_config:m!
    tags:S! sm_config:m! blobs:map(s>blob) local_cache_enabled:b introduced_by:DR_task clustered:b is_tools_sr:b
SM
    uuid:s name_label:s name_description:s type:s vendor:s copyright:s version:s required_api_version:s
    configuration:m capabilities:S features:map(s>i) other_config:m! driver_filename:s required_cluster_stack:S
task
    uuid:s name_label:s name_description:s allowed_operations:E current_operations:ops created:d finished:d
    status:e=pending resident_on:host progress:f type:s result:s error_info:S other_config:m subtask_of:task
    subtasks:set(task) backtrace:s=()
message
    uuid:s name:s priority:i cls:e=Pool obj_uuid:s timestamp:d body:s
console
    uuid:s protocol:e=rfb location:s VM:VM other_config:m!
VM_appliance
    uuid:s name_label:s! name_description:s! allowed_operations:E current_operations:ops VMs:set(VM)
VM_group
    uuid:s name_label:s! name_description:s! placement:e=normal VMs:set(VM)
VMPP
    uuid:s name_label:s! name_description:s! is_policy_enabled:b=true! backup_type:e=snapshot!
    backup_retention_value:i=7 backup_frequency:e=daily backup_schedule:m is_backup_running:b backup_last_run_time:d
    archive_target_type:e=none archive_target_config:m archive_frequency:e=never archive_schedule:m
    is_archive_running:b archive_last_run_time:d VMs:set(VM) is_alarm_enabled:b alarm_config:m recent_alerts:S
VMSS
    uuid:s name_label:s! name_description:s! enabled:b=true! type:e=snapshot retained_snapshots:i=7
    frequency:e=daily schedule:m last_run_time:d VMs:set(VM)
DR_task
    uuid:s introduced_SRs:set(SR)
crashdump
    uuid:s VM:VM VDI:VDI other_config:m!
host_crashdump
    uuid:s host:host timestamp:d size:i other_config:m!
host_patch
    uuid:s name_label:s name_description:s version:s host:host applied:b timestamp_applied:d size:i
    pool_patch:pool_patch other_config:m!
pool_patch
    uuid:s name_label:s name_description:s version:s size:i pool_applied:b host_patches:set(host_patch)
    after_apply_guidance:E pool_update:pool_update other_config:m!
pool_update
    uuid:s name_label:s name_description:s version:s installation_size:i key:s after_apply_guidance:E vdi:VDI
    hosts:set(host) other_config:m! enforce_homogeneity:b
blob
    uuid:s name_label:s! name_description:s! size:i public:b! last_updated:d mime_type:s
secret
    uuid:s value:s! other_config:m!
user
    uuid:s short_name:s fullname:s! other_config:m!
subject
    uuid:s subject_identifier:s other_config:m roles:set(role)
role
    uuid:s name_label:s name_description:s subroles:set(role) is_internal:b
VTPM
    uuid:s allowed_operations:E current_operations:ops VM:VM backend:VM persistence_backend:e=xapi is_unique:b
    is_protected:b
VUSB
    uuid:s allowed_operations:E current_operations:ops VM:VM USB_group:USB_group other_config:m!
    currently_attached:b
PUSB
    uuid:s USB_group:USB_group host:host path:s vendor_id:s vendor_desc:s product_id:s product_desc:s serial:s
    version:s description:s passthrough_enabled:b other_config:m! speed:f=-1.
USB_group
    uuid:s name_label:s! name_description:s! PUSBs:set(PUSB) VUSBs:set(VUSB) other_config:m!
PCI
    uuid:s class_name:s vendor_name:s device_name:s host:host pci_id:s dependencies:set(PCI) other_config:m!
    subsystem_vendor_name:s subsystem_device_name:s driver_name:s
PGPU
    uuid:s PCI:PCI GPU_group:GPU_group host:host other_config:m! supported_VGPU_types:set(VGPU_type)
    enabled_VGPU_types:set(VGPU_type) resident_VGPUs:set(VGPU) supported_VGPU_max_capacities:map(VGPU_type>i)
    dom0_access:e=enabled is_system_display_device:b compatibility_metadata:m
GPU_group
    uuid:s name_label:s! name_description:s! PGPUs:set(PGPU) VGPUs:set(VGPU) GPU_types:S other_config:m!
    allocation_algorithm:e=depth_first! supported_VGPU_types:set(VGPU_type) enabled_VGPU_types:set(VGPU_type)
VGPU
    uuid:s VM:VM GPU_group:GPU_group device:s=0 currently_attached:b other_config:m! type:VGPU_type resident_on:PGPU
    scheduled_to_be_resident_on:PGPU compatibility_metadata:m extra_args:s! PCI:PCI
VGPU_type
    uuid:s vendor_name:s model_name:s framebuffer_size:i max_heads:i max_resolution_x:i max_resolution_y:i
    supported_on_PGPUs:set(PGPU) enabled_on_PGPUs:set(PGPU) VGPUs:set(VGPU) supported_on_GPU_groups:set(GPU_group)
    enabled_on_GPU_groups:set(GPU_group) implementation:e=passthrough identifier:s experimental:b
    compatible_types_in_vm:set(VGPU_type)
Cluster
    uuid:s cluster_hosts:set(Cluster_host) pending_forget:S cluster_token:s cluster_stack:s=corosync
    cluster_stack_version:i=2 is_quorate:b quorum:i live_hosts:i allowed_operations:E
    current_operations:ops pool_auto_join:b=true token_timeout:f=20. token_timeout_coefficient:f=1. cluster_config:m
    other_config:m!
Cluster_host
    uuid:s cluster:Cluster host:host enabled:b PIF:PIF joined:b=true live:b last_update_live:d allowed_operations:E
    current_operations:ops other_config:m
Certificate
    uuid:s name:s type:e=host host:host not_before:d not_after:d fingerprint:s
Feature
    uuid:s name_label:s name_description:s enabled:b experimental:b version:s=1.0 host:host
SDN_controller
    uuid:s protocol:e=ssl address:s port:i
session
    uuid:s this_host:host this_user:user last_active:d pool:b other_config:m! is_local_superuser:b subject:subject
    validation_time:d auth_user_sid:s auth_user_name:s rbac_permissions:S tasks:set(task) parent:session
    originator:s client_certificate:b
"""
